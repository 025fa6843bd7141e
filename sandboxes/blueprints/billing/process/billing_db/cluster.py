"""Create the data directory that is copied for every sandbox, with the scripts of the image.

Does the same as `init-cluster.sh` of the image, with two differences. Without a private network,
the server listens on the loopback address. Without a separate system user for PostgreSQL, access
to the data directory authenticates the superuser.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from .binaries import postgres_binaries

SOURCES = Path(__file__).resolve().parent.parent
DATA_DIR = Path("cluster")
SCRIPTS_DIR = Path("sql")
SUPERUSER = "postgres"

PROCESS_SETTINGS = """
# One of several servers on this machine; the port is set at the start.
listen_addresses = '127.0.0.1'
# In the data directory, which other users can't enter.
unix_socket_directories = '.'
# In the data directory, so that it is deleted with the sandbox even after a kill.
dynamic_shared_memory_type = mmap
"""
POSTGRES_18_SETTINGS = """
# No separate I/O worker processes.
io_method = sync
"""
HBA_RULES = f"""
# Access to the data directory implies full access to the data anyway.
local  all      {SUPERUSER}                trust
host   billing  developer,billing_api  all  scram-sha-256
"""
HBA_TRUST_ALL = "local all all trust\n"


def prepare() -> None:
    """Fill the current directory with the scripts and a cluster that contains the schema."""
    SCRIPTS_DIR.mkdir()
    for folder in ("db", "billing"):
        for script in (SOURCES / folder).glob("*.sql"):
            shutil.copy(script, SCRIPTS_DIR)
    _init_database_cluster()
    (DATA_DIR / "pg_hba.conf").write_text(HBA_TRUST_ALL)
    with tempfile.TemporaryDirectory() as sockets:
        options = f"-c listen_addresses= -c unix_socket_directories={sockets} -c wal_recycle=off"
        _run("pg_ctl", "-D", DATA_DIR, "-s", "-w", "-l", "log", "-o", options, "start")
        try:
            _create_databases(sockets)
        finally:
            _run("pg_ctl", "-D", DATA_DIR, "-s", "-w", "-m", "fast", "stop")
    (DATA_DIR / "pg_hba.conf").write_text(HBA_RULES)
    Path("log").unlink()


def _init_database_cluster() -> None:
    version = postgres_binaries()[1]
    options = ["--encoding=UTF8", "--wal-segsize=1", "--auth=trust", f"--username={SUPERUSER}"]
    # PostgreSQL 17 and newer include the locale; older versions need it on the system.
    options += (
        ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if version >= 17  # noqa: PLR2004
        else ["--locale=C.UTF-8"]
    )
    if version >= 18:  # noqa: PLR2004
        options.append("--no-data-checksums")
    _run("initdb", "-D", DATA_DIR, *options, "--no-sync", "--no-instructions")
    shared_settings = (SOURCES / "db" / "postgresql.conf").read_text()
    postgres_18_settings = POSTGRES_18_SETTINGS if version >= 18 else ""  # noqa: PLR2004
    (DATA_DIR / "postgresql.conf").write_text(
        shared_settings + PROCESS_SETTINGS + postgres_18_settings
    )


def _create_databases(sockets: str) -> None:
    def psql(database: str, *arguments: str) -> None:
        options = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-h", sockets)
        _run("psql", *options, "-U", SUPERUSER, *arguments, database)

    # Without connections, `start.sql` recognizes it as not seeded.
    copy = "TEMPLATE billing_template CONNECTION LIMIT 0 STRATEGY file_copy"
    psql("postgres", "-f", f"{SCRIPTS_DIR}/create-roles.sql")
    psql("postgres", "-c", "CREATE DATABASE billing_template")
    psql("billing_template", "-c", "ALTER SCHEMA public OWNER TO developer")
    psql("billing_template", "-c", "GRANT CREATE ON DATABASE billing_template TO developer")
    schema = ("-f", f"{SCRIPTS_DIR}/schema.sql", "-f", f"{SCRIPTS_DIR}/events.sql")
    psql("billing_template", "-1", "-c", "SET role developer", *schema)
    psql("billing_template", "-c", "VACUUM (FULL, FREEZE, ANALYZE)")
    psql("postgres", "-c", f"CREATE DATABASE billing {copy}")
    # Unused, and it would be copied for every sandbox.
    psql("postgres", "-c", "ALTER DATABASE template1 IS_TEMPLATE false")
    psql("postgres", "-c", "DROP DATABASE template1")
    psql(
        "postgres", "-c", "ALTER DATABASE billing_template IS_TEMPLATE true ALLOW_CONNECTIONS false"
    )
    # Until a sandbox is seeded: an API that starts at the same time can't sign in yet.
    psql("postgres", "-c", "ALTER SYSTEM SET log_min_messages = panic")


def _run(program: str, *arguments: str | Path) -> None:
    subprocess.run(
        [postgres_binaries()[0] / program, *arguments],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
