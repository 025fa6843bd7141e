#!/bin/sh
# Restores the seed data, then creates the spare database for the next reset.
set -eu
sh /opt/billing/run-script.sh reset.sql
sh /opt/billing/run-script.sh create-spare.sql >/dev/null 2>&1 &
