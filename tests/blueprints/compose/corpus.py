"""Synthetic Compose files in the style of public ones, and the share of them that pass.

Each key of a file occurs as often as in 744 public files, in the forms that such files use. A file
consists of an application, mostly with a database, a cache, a worker or a proxy. Companion files
(`.env`, Dockerfiles, configuration) are often missing, as in public repositories.

`python -m tests.blueprints.compose.corpus 5000` prints the share and the reasons of the rest.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

PUBLIC_FILES = 744
COUNTS = {
    "volumes": 667,
    "restart": 650,
    "environment": 624,
    "ports": 435,
    "depends_on": 315,
    "conditions": 147,
    "version": 279,
    "expose": 276,
    "healthcheck": 228,
    "container_name": 189,
    "hostname": 68,
    "networks": 27,
    "x-": 23,
    "deploy": 22,
    "cap_add": 22,
    "env_file": 20,
    "labels": 17,
    "links": 15,
    "pull_policy": 15,
    "ulimits": 15,
    "read_only": 13,
    "tmpfs": 11,
    "extra_hosts": 11,
    "shm_size": 10,
    "network_mode": 10,
    "secrets": 9,
    "stdin_open": 9,
    "logging": 8,
    "tty": 8,
    "sysctls": 6,
    "configs": 1,
    "profiles": 1,
    # Not counted there; common in public files.
    "command": 180,
    "build": 40,
    "user": 40,
    "entrypoint": 25,
    "working_dir": 15,
    "stop_grace_period": 8,
    "init": 8,
    "security_opt": 12,
    "privileged": 5,
    "devices": 4,
    "engine_socket": 14,
    "host_folder": 8,
    "time_zone_files": 15,
    "stop_signal": 3,
    "platform": 6,
    "mem_limit": 5,
    "pid": 1,
    "scale": 2,
}
SANDBOX_FILE = "title: Imported stack\nendpoints:\n  web: {{service: {service}, port: {port}}}\n"

APPLICATIONS = (
    "gitea",
    "n8n",
    "ghost",
    "nextcloud",
    "umami",
    "directus",
    "Wiki.js",
    "paperless-ngx",
)
DATABASES = {
    "postgres": ("postgres:16-alpine", "/var/lib/postgresql/data", 5432),
    "mariadb": ("mariadb:11", "/var/lib/mysql", 3306),
    "mongo": ("mongo:7", "/data/db", 27017),
    "redis": ("redis:7-alpine", "/data", 6379),
}
HEALTH_TESTS: tuple[Any, ...] = (
    "curl -f http://localhost:3000/health || exit 1",
    ["CMD", "curl", "-f", "http://localhost"],
    ["CMD-SHELL", "pg_isready -U $${POSTGRES_USER} -d $$POSTGRES_DB"],
    ["CMD-SHELL", "pg_isready -U ${POSTGRES_USER:-postgres}"],
    ["CMD", "redis-cli", "--raw", "incr", "ping"],
    "mysqladmin ping -h 127.0.0.1 -u root --password=$$MYSQL_ROOT_PASSWORD",
)
PORTS: tuple[Any, ...] = (
    "8080:80",
    "127.0.0.1:3000:3000",
    "${PORT:-3000}:3000",
    "${HTTP_PORT}:8080",
    "8443:443/tcp",
    "6881:6881/udp",
    "5000-5010:5000-5010",
    9000,
    "80",
    {"target": 8000, "published": "8000", "protocol": "tcp", "mode": "host"},
)


class Generator:
    """Generates files from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.top: dict[str, Any] = {}

    def has(self, key: str) -> bool:
        return self.random.random() < COUNTS[key] / PUBLIC_FILES

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def file(self) -> tuple[dict[str, Any], str, int]:
        """Return a file, and a service with a port for its endpoint."""
        self.top = {}
        if self.has("version"):
            self.top["version"] = self.pick("3", "3.8", "2.4", 3.9)
        name = self.random.choice(APPLICATIONS)
        app: dict[str, Any] = {}
        services = self.top["services"] = {name: app}
        self._image(app)
        database = self.pick("postgres", "mariadb", "mongo", "redis")
        depends = self.has("depends_on")
        if depends or self.random.random() < 0.15:
            services[self.pick("db", database, f"{name}-db")] = self._database(database)
        others = [other for other in services if other != name]
        if depends:
            self._depends_on(app, others)
        for key, add in self._service_keys().items():
            if self.has(key):
                add(app, others)
        self._top_level(services)
        return self.top, name, 3000

    def _image(self, app: dict[str, Any]) -> None:
        if self.has("build"):
            app["build"] = self.pick(".", {"context": ".", "args": {"NODE_ENV": "production"}})
        else:
            app["image"] = self.pick(
                "ghcr.io/acme/app:latest",
                "acme/app:${TAG:-2.1}",
                "docker.io/library/nginx",
                "acme/app",
            )

    def _database(self, kind: str) -> dict[str, Any]:
        image, path, port = DATABASES[kind]
        service: dict[str, Any] = {"image": image, "restart": "always"}
        service["environment"] = self.pick(
            {"POSTGRES_PASSWORD": "${DB_PASSWORD}", "POSTGRES_DB": "app", "TZ": "UTC"},
            ["MYSQL_ROOT_PASSWORD=${DB_ROOT:-root}", "MYSQL_DATABASE=app"],
            {"MONGO_INITDB_ROOT_USERNAME": "root", "RETRIES": 3, "VERBOSE": True},
        )
        service["volumes"] = [self.pick(f"{kind}-data:{path}", f"./data/{kind}:{path}")]
        if self.random.random() < 0.4:
            service["healthcheck"] = self._health()
        if self.random.random() < 0.2:
            service["expose"] = [port]
        return service

    def _health(self) -> dict[str, Any]:
        check: dict[str, Any] = {"test": self.random.choice(HEALTH_TESTS)}
        for key, values in {
            "interval": ("10s", "1m30s", "5s"),
            "timeout": ("5s", "20s"),
            "retries": (3, 10, "5"),
            "start_period": ("30s",),
        }.items():
            if self.random.random() < 0.7:
                check[key] = self.random.choice(values)
        return check

    def _depends_on(self, app: dict[str, Any], others: list[str]) -> None:
        if self.random.random() < COUNTS["conditions"] / COUNTS["depends_on"]:
            condition = self.pick("service_healthy", "service_started", "service_healthy")
            app["depends_on"] = {other: {"condition": condition} for other in others}
        else:
            app["depends_on"] = others

    def _service_keys(self) -> dict[str, Callable[[dict[str, Any], list[str]], None]]:
        def put(key: str, *choices: Any) -> Callable[[dict[str, Any], list[str]], None]:
            def add(app: dict[str, Any], _: list[str]) -> None:
                app[key] = self.random.choice(choices)

            return add

        return {
            "volumes": self._volumes,
            "environment": self._environment,
            "ports": lambda app, _: app.update(ports=self.random.sample(PORTS, 2)),
            "restart": put("restart", "always", "unless-stopped", "on-failure", "no", False),
            "expose": put("expose", [3000], ["80", "443"], ["${PORT:-80}"]),
            "healthcheck": lambda app, _: app.update(healthcheck=self._health()),
            "container_name": put("container_name", "app", "my_app", "${NAME:-app}"),
            "hostname": put("hostname", "app", "app.local"),
            "deploy": put(
                "deploy",
                {"resources": {"limits": {"cpus": "0.50", "memory": "512M"}}},
                {"resources": {"limits": {"memory": "4G"}, "reservations": {"memory": "1G"}}},
                {"replicas": 2, "restart_policy": {"condition": "on-failure"}},
                {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}},
            ),
            "cap_add": put("cap_add", ["NET_ADMIN"], ["SYS_NICE"], ["NET_ADMIN", "SYS_MODULE"]),
            "env_file": put("env_file", ".env", [".env", "app.env"], [{"path": "x.env"}]),
            "labels": put("labels", ["traefik.enable=true"], {"com.example.a": "b"}),
            "links": lambda app, others: app.update(links=[f"{others[0]}:db"] if others else []),
            "pull_policy": put("pull_policy", "always", "missing", "build"),
            "ulimits": put(
                "ulimits",
                {"memlock": {"soft": -1, "hard": -1}},
                {"nofile": 65536, "nproc": 65535},
            ),
            "read_only": put("read_only", True, False),
            "tmpfs": put("tmpfs", "/run", ["/tmp", "/run:size=64m,mode=1777"]),
            "extra_hosts": put("extra_hosts", ["host.docker.internal:host-gateway"]),
            "shm_size": put("shm_size", "1gb", "256m", "128mb"),
            "network_mode": put("network_mode", "host", "host", "bridge", "service:vpn"),
            "stdin_open": put("stdin_open", True),
            "tty": put("tty", True),
            "logging": put("logging", {"driver": "json-file", "options": {"max-size": "10m"}}),
            "sysctls": put("sysctls", ["net.ipv4.ip_forward=1"], {"net.core.somaxconn": 1024}),
            "command": put(
                "command",
                "start --optimized",
                ["npm", "run", "start"],
                'sh -c "migrate && exec server --port $${PORT}"',
                "--default-authentication-plugin=mysql_native_password",
            ),
            "user": put("user", "1000:1000", "${UID:-1000}:${GID:-1000}", "root", 1000, "node"),
            "entrypoint": put("entrypoint", "/entrypoint.sh", ["/bin/sh", "-c"], "sh /init.sh"),
            "working_dir": put("working_dir", "/app"),
            "stop_grace_period": put("stop_grace_period", "1m", "30s"),
            "init": put("init", True),
            "security_opt": put(
                "security_opt", ["no-new-privileges:true"], ["apparmor:unconfined"]
            ),
            "privileged": put("privileged", True),
            "devices": put("devices", ["/dev/dri:/dev/dri"], ["/dev/net/tun"]),
            "stop_signal": put("stop_signal", "SIGINT"),
            "platform": put("platform", "linux/amd64"),
            "mem_limit": put("mem_limit", "256m", "2g"),
            "pid": put("pid", "host"),
            "scale": put("scale", 1),
            "profiles": put("profiles", ["extra"]),
        }

    def _volumes(self, app: dict[str, Any], _: list[str]) -> None:
        mounts = [
            "app-data:/data",
            "./config:/config",
            "./nginx.conf:/etc/nginx/nginx.conf:ro",
            {"type": "bind", "source": "./uploads", "target": "/uploads"},
            {"type": "volume", "source": "cache", "target": "/cache"},
            "/var/cache/app",
            "undeclared:/state",
        ]
        app["volumes"] = self.random.sample(mounts, self.random.randint(1, 3))
        if self.has("time_zone_files"):
            app["volumes"].append("/etc/localtime:/etc/localtime:ro")
        if self.has("engine_socket"):
            app["volumes"].append("/var/run/docker.sock:/var/run/docker.sock:ro")
        if self.has("host_folder"):
            app["volumes"].append(
                self.pick("/mnt/media:/media", "~/data:/data2", "../shared:/shared")
            )

    def _environment(self, app: dict[str, Any], _: list[str]) -> None:
        app["environment"] = self.pick(
            {"TZ": "Europe/Berlin", "DEBUG": True, "WORKERS": 4, "EMPTY": None, "RATIO": 1.5},
            ["PUID=1000", "PGID=1000", "TZ=Etc/UTC", "PASSED_ON"],
            {"DATABASE_URL": "postgres://app:${DB_PASSWORD}@db:5432/app", "KEY": "${KEY:?set it}"}
            if self.random.random() < 0.1
            else {"DATABASE_URL": "postgres://app:${DB_PASSWORD:-app}@db:5432/app"},
            ["SECRET=$SECRET_KEY", "URL=${URL:-http://localhost:${PORT:-3000}}", "SALT=a$$b"],
        )

    def _top_level(self, services: dict[str, Any]) -> None:
        named = {
            mount.split(":")[0] if isinstance(mount, str) else mount["source"]
            for service in services.values()
            for mount in service.get("volumes", [])
            if (isinstance(mount, str) and ":" in mount and mount[0] not in "./~")
            or (isinstance(mount, dict) and mount["type"] == "volume")
        }
        if named - {"undeclared"}:
            self.top["volumes"] = {
                name: self.pick(None, None, {"driver": "local"}, {"name": f"acme_{name}"})
                for name in sorted(named - {"undeclared"})
            }
        if self.has("networks"):
            self.top["networks"] = self.pick({"backend": None}, {"proxy": {"external": True}})
            network = next(iter(self.top["networks"]))
            for service in services.values():
                service["networks"] = self.pick([network], {network: {"aliases": ["app.internal"]}})
        if self.has("x-"):
            self.top["x-logging"] = {"driver": "json-file"}
        first = next(iter(services.values()))
        if self.has("secrets"):
            self.top["secrets"] = {"db_password": {"file": "./secrets/db_password.txt"}}
            first["secrets"] = self.pick(["db_password"], [{"source": "db_password", "mode": 288}])
        if self.has("configs"):
            self.top["configs"] = {"app": {"content": "port = ${PORT:-80}\n"}}
            first["configs"] = [{"source": "app", "target": "/etc/app.ini"}]


def write_files(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write blueprints into a folder, and yield the folder of each."""
    for number in range(count):
        content, service, port = Generator(seed + number).file()
        own = folder / f"stack-{number}"
        own.mkdir()
        (own / "Dockerfile").touch()
        name = "docker-compose.yml" if number % 2 else "compose.yaml"
        (own / name).write_text(yaml.safe_dump(content, sort_keys=False))
        (own / "sandbox.yaml").write_text(SANDBOX_FILE.format(service=service, port=port))
        yield own


def judge(folder: Path, count: int, seed: int = 1) -> tuple[float, Counter[str]]:
    """Return the share of files that pass, and how often each message refused one."""
    from sandboxes.blueprints.loader import inspect

    passed, reasons = 0, Counter[str]()
    for own in write_files(folder, count, seed):
        inspection = inspect(own, memory_mb=512, cpus=1.0)
        passed += not inspection.problems
        reasons.update({f"{one.key.split('.')[-1]}: {one.message}" for one in inspection.problems})
    return passed / count, reasons


def main() -> None:
    import django

    django.setup()
    with TemporaryDirectory() as folder:
        share, reasons = judge(Path(folder), int(sys.argv[1]))
    sys.stdout.write(f"{share:.1%} pass\n")
    for reason, count in reasons.most_common():
        sys.stdout.write(f"{count:6} {reason}\n")


if __name__ == "__main__":
    main()
