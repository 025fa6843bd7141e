#!/bin/sh
# Puts the seed back, and then makes the spare database for the next time.
set -eu
sh /opt/billing/run-script.sh reset.sql
sh /opt/billing/run-script.sh create-spare.sql >/dev/null 2>&1 &
