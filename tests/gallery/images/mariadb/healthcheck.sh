#!/bin/bash
# The official one has options such as --connect; here each of them means a connection over TCP.
exec mariadb -h127.0.0.1 -uhealthcheck -phealthcheck -e 'SELECT 1' >/dev/null 2>&1
