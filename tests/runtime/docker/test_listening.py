"""The ports of a container on which others can connect, as the kernel lists them."""

from __future__ import annotations

from sandboxes.runtime.docker.listening import parse_sockets

TITLE = "  sl  local_address rem_address   st tx_queue rx_queue\n"
SOCKETS = (
    f"{TITLE}"
    "   0: 00000000:1538 00000000:0000 0A 00000000:00000000\n"
    "   1: 0100007F:0CEA 00000000:0000 0A 00000000:00000000\n"
    "   2: 0200D60A:C350 0300D60A:1538 01 00000000:00000000\n"
)


def test_only_listening_sockets_that_others_reach_count() -> None:
    assert parse_sockets(SOCKETS) == {5432}


def test_a_server_on_a_socket_file_has_no_ports() -> None:
    assert parse_sockets(TITLE) == set()


def test_an_image_without_cat_tells_nothing() -> None:
    assert parse_sockets('exec: "cat": executable file not found in $PATH') is None
