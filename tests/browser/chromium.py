#!/usr/bin/env python3
"""Run Debian's headless Chromium without notifications about the machine's network interfaces.

Sandboxes add and remove networks all the time. Chromium aborts pending requests on each change, so
pages lack their styles and clicks have no effect. It listens for changes on a netlink socket, and
works without one if the kernel refuses to create it.
"""

import errno
import os
import socket
import sys

from pyseccomp import ALLOW, EQ, ERRNO, Arg, SyscallFilter

CHROMIUM = "/usr/bin/chromium-headless-shell"

rules = SyscallFilter(ALLOW)
rules.add_rule(ERRNO(errno.EAFNOSUPPORT), "socket", Arg(0, EQ, socket.AF_NETLINK))
rules.load()
os.execv(CHROMIUM, [CHROMIUM, *sys.argv[1:]])
