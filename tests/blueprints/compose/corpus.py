"""Synthetic Compose files in the style of public ones, and the share of them that pass.

Each key of a file occurs as often as in 744 public files, in the forms that Compose takes and such
files use, whether blueprints take them or not. A file consists of an application, mostly with a
database, a cache, a worker or a proxy. Its text is written as people and programs write YAML: with
anchors and merge keys, comments, and values without quotes. Companion files (`.env`, configuration)
are missing, as in public repositories; of those that a build needs, there is a Dockerfile.

`make corpus` judges 5,000 files, and prints the share that passes and the reasons of the rest.
"""

from __future__ import annotations

import copy
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from sandboxes.blueprints import Problem

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
    "anchors": 45,
    "top_level_name": 60,
    "required_variable": 25,
}
REQUIRED = re.compile(r"\$\{(\w+):?\?|environment: ([A-Z_]+)\b")
"""A variable without which Compose doesn't start the stack."""

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
OTHERS: dict[str, dict[str, Any]] = {
    "worker": {"image": "acme/app:${TAG:-2.1}", "command": ["worker", "--queues", "default,mail"]},
    "cache": {"image": "valkey/valkey:8", "command": "--save 60 1 --loglevel warning"},
    "proxy": {
        "image": "nginx:alpine",
        "ports": ["80:80", "443:443"],
        "volumes": ["./nginx/conf.d:/etc/nginx/conf.d:ro"],
    },
    "minio": {
        "image": "minio/minio",
        "command": 'server /data --console-address ":9001"',
        "volumes": ["minio:/data"],
    },
    "adminer": {"image": "adminer", "ports": ["8081:8080"], "restart": "unless-stopped"},
    "migrate": {"image": "acme/app", "command": "migrate up", "restart": "no"},
    "search": {
        "image": "docker.elastic.co/elasticsearch/elasticsearch:8.15.0",
        "environment": ["discovery.type=single-node", "ES_JAVA_OPTS=-Xms512m -Xmx512m"],
    },
}
HEALTH_TESTS: tuple[Any, ...] = (
    "curl -f http://localhost:3000/health || exit 1",
    ["CMD", "curl", "-f", "http://localhost"],
    ["CMD-SHELL", "pg_isready -U $${POSTGRES_USER} -d $$POSTGRES_DB"],
    ["CMD-SHELL", "pg_isready -U ${POSTGRES_USER:-postgres}"],
    ["CMD", "redis-cli", "--raw", "incr", "ping"],
    "mysqladmin ping -h 127.0.0.1 -u root --password=$$MYSQL_ROOT_PASSWORD",
    ["CMD-SHELL", "wget -qO- http://127.0.0.1:${PORT:-3000}/ || exit 1"],
    ["CMD", "bash", "-c", "echo > /dev/tcp/127.0.0.1/5672"],
    ["CMD-SHELL", "mongosh --quiet --eval 'db.runCommand({ping: 1}).ok' | grep 1"],
    ["NONE"],
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
    {"target": 80, "published": 8080},
    {
        "name": "web",
        "target": 443,
        "host_ip": "127.0.0.1",
        "published": "8443",
        "app_protocol": "http",
    },
    "[::1]:6001:6001",
    "22:22",
    "53:53/udp",
    "3000-3001:3000-3001/tcp",
    "${BIND:-0.0.0.0}:${PORT:-9090}:9090",
    "8080:${APP_PORT:-8080}",
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
        for other in self.random.sample(sorted(OTHERS), self.pick(0, 0, 0, 0, 1, 1, 2, 4)):
            services[other] = copy.deepcopy(OTHERS[other])
        others = [other for other in services if other != name]
        if depends:
            self._depends_on(app, others)
        for key, add in self._service_keys().items():
            if self.has(key):
                add(app, others)
        self._top_level(services)
        if self.has("anchors"):
            self._share(services)
        return self.top, name, 3000

    def _share(self, services: dict[str, Any]) -> None:
        """Let services have keys in common, which YAML writes as an anchor and its aliases."""
        common = {"restart": "unless-stopped", "logging": {"driver": "local"}}
        self.top = {"x-common": common, **self.top}
        for service in services.values():
            if self.random.random() < 0.3:
                service["<<"] = self.pick(common, common, [common])
            else:
                service["logging"] = common["logging"]

    def text(self, content: dict[str, Any]) -> str:
        """Return a file's content as text, in one of the styles that are seen."""
        text = yaml.safe_dump(
            content,
            sort_keys=False,
            width=self.pick(80, 1000),
            indent=self.pick(2, 2, 4),
            default_flow_style=self.pick(False, False, False, None),
            allow_unicode=True,
        ).replace("'<<':", "<<:")
        if self.random.random() < 0.4:
            # Values that another version of YAML reads as numbers to the base 60, or as booleans.
            text = re.sub(r"- '(\d+:\d+)'$", r"- \1", text, flags=re.MULTILINE)
            text = re.sub(r": '(yes|no|on|off)'$", r": \1", text, flags=re.MULTILINE)
        if self.random.random() < 0.3:
            text = f"# https://example.com/docs: how to install\n---\n{text}\n# end\n"
        if self.random.random() < 0.03:
            text = text.replace("\n", "\r\n")
        return text

    def _image(self, app: dict[str, Any]) -> None:
        if self.has("build"):
            app["build"] = self.pick(
                ".",
                "./",
                {"context": ".", "args": {"NODE_ENV": "production"}},
                {"context": ".", "dockerfile": "Dockerfile", "args": ["VERSION=${VERSION:-1}"]},
                {"context": "./", "target": "production", "cache_from": ["acme/app:cache"]},
                {"dockerfile_inline": "FROM alpine\nRUN apk add curl\n"},
                {"context": "https://github.com/acme/app.git#main"},
                {"context": "..", "dockerfile": "docker/Dockerfile"},
            )
            if self.random.random() < 0.4:
                app["image"] = "acme/app:dev"
        else:
            app["image"] = self.pick(
                "ghcr.io/acme/app:latest",
                "acme/app:${TAG:-2.1}",
                "docker.io/library/nginx",
                "acme/app",
                "registry.example.com:5000/team/app:1.2.3",
                "ghcr.io/acme/app@sha256:" + "ab" * 32,
                "${IMAGE:-acme/app}:${TAG:-latest}",
                "docker.io/bitnami/wordpress:6",
            )

    def _database(self, kind: str) -> dict[str, Any]:
        image, path, port = DATABASES[kind]
        service: dict[str, Any] = {"image": image, "restart": "always"}
        service["environment"] = self.pick(
            {"POSTGRES_PASSWORD": "${DB_PASSWORD}", "POSTGRES_DB": "app", "TZ": "UTC"},
            ["MYSQL_ROOT_PASSWORD=${DB_ROOT:-root}", "MYSQL_DATABASE=app"],
            {"MONGO_INITDB_ROOT_USERNAME": "root", "RETRIES": 3, "VERBOSE": True},
            {"POSTGRES_PASSWORD_FILE": "/run/password", "PGDATA": "/var/lib/postgresql/data/pg"},
        )
        service["volumes"] = [
            self.pick(
                f"{kind}-data:{path}",
                f"./data/{kind}:{path}",
                f"${{DATA:-./data}}/{kind}:{path}:rw",
                {"type": "volume", "source": f"{kind}-data", "target": path},
            )
        ]
        if self.random.random() < 0.2:
            service["volumes"].append("./init.sql:/docker-entrypoint-initdb.d/init.sql:ro")
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
            "start_period": ("30s", "1m", "0s"),
            "start_interval": ("2s",),
        }.items():
            if self.random.random() < 0.7:
                check[key] = self.random.choice(values)
        return check

    def _depends_on(self, app: dict[str, Any], others: list[str]) -> None:
        if self.random.random() < COUNTS["conditions"] / COUNTS["depends_on"]:
            choices = ("service_healthy", "service_started", "service_healthy")
            app["depends_on"] = {
                other: {"condition": "service_completed_successfully"}
                if other == "migrate"
                else {"condition": self.pick(*choices)} | self.pick({}, {}, {"restart": True})
                for other in others
            }
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
            "restart": put(
                "restart", "always", "unless-stopped", "on-failure", "on-failure:5", "no", False
            ),
            "expose": put(
                "expose", [3000], ["80", "443"], ["${PORT:-80}"], ["9000-9001"], ["53/udp"]
            ),
            "healthcheck": lambda app, _: app.update(healthcheck=self._health()),
            "container_name": put("container_name", "app", "my_app", "${NAME:-app}", "App.1"),
            "hostname": put("hostname", "app", "app.local"),
            "deploy": put(
                "deploy",
                {"resources": {"limits": {"cpus": "0.50", "memory": "512M"}}},
                {"resources": {"limits": {"memory": "4G"}, "reservations": {"memory": "1G"}}},
                {"replicas": 2, "restart_policy": {"condition": "on-failure"}},
                {"mode": "replicated", "placement": {"constraints": ["node.role == manager"]}},
                {"resources": {"limits": {"cpus": 2, "memory": "2G", "pids": 200}}},
                {"labels": ["traefik.enable=true"], "update_config": {"order": "start-first"}},
                {"resources": {"limits": {"memory": "${MEMORY:-1g}"}}},
                {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}},
            ),
            "cap_add": put(
                "cap_add", ["NET_ADMIN"], ["SYS_NICE"], ["NET_ADMIN", "SYS_MODULE"], ["IPC_LOCK"]
            ),
            "env_file": put(
                "env_file",
                ".env",
                [".env", "app.env"],
                ["./config/app.env"],
                [{"path": "x.env", "required": False}],
            ),
            "labels": put(
                "labels",
                ["traefik.enable=true", "traefik.http.routers.app.rule=Host(`app.example.com`)"],
                {"com.example.a": "b", "empty": None, "number": 1, "flag": True},
                {"traefik.http.middlewares.m.basicauth.users": "a:$$apr1$$x"},
                ["com.centurylinklabs.watchtower.enable=${WATCH:-false}"],
            ),
            "links": lambda app, others: app.update(links=[f"{others[0]}:db"] if others else []),
            "pull_policy": put(
                "pull_policy", "always", "missing", "build", "if_not_present", "daily"
            ),
            "ulimits": put(
                "ulimits",
                {"memlock": {"soft": -1, "hard": -1}},
                {"nofile": 65536, "nproc": 65535},
                {"nofile": {"soft": "262144", "hard": "262144"}},
                {"core": 0, "stack": 67108864},
            ),
            "read_only": put("read_only", True, False),
            "tmpfs": put(
                "tmpfs",
                "/run",
                ["/tmp", "/run:size=64m,mode=1777"],
                ["/run:rw,noexec,nosuid,size=65536k"],
            ),
            "extra_hosts": put(
                "extra_hosts",
                ["host.docker.internal:host-gateway"],
                {"db.example.com": "10.0.0.5"},
                ["a=1.2.3.4"],
            ),
            "shm_size": put("shm_size", "1gb", "256m", "128mb", 67108864, "64M"),
            "network_mode": put("network_mode", "host", "host", "bridge", "none", "container:vpn"),
            "stdin_open": put("stdin_open", True),
            "tty": put("tty", True),
            "logging": put(
                "logging",
                {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
                {"driver": "none"},
                {"options": {"max-size": "1m", "compress": True}},
            ),
            "sysctls": put("sysctls", ["net.ipv4.ip_forward=1"], {"net.core.somaxconn": 1024}),
            "command": put(
                "command",
                "start --optimized",
                ["npm", "run", "start"],
                'sh -c "migrate && exec server --port $${PORT}"',
                "--default-authentication-plugin=mysql_native_password",
                "sh -c '\n  set -e\n  migrate\n  exec serve\n'\n",
                ["sh", "-c", "until nc -z db 5432; do sleep 1; done; exec serve"],
                ["--port", 8080, "--verbose", True],
                "serve --url=${URL:-http://localhost} --key='a b'",
            ),
            "user": put(
                "user",
                "1000:1000",
                "${UID:-1000}:${GID:-1000}",
                "root",
                1000,
                "node",
                "0:0",
                "www-data:www-data",
            ),
            "entrypoint": put("entrypoint", "/entrypoint.sh", ["/bin/sh", "-c"], "sh /init.sh"),
            "working_dir": put("working_dir", "/app"),
            "stop_grace_period": put("stop_grace_period", "1m", "30s", "1m30s", "500ms"),
            "init": put("init", True),
            "security_opt": put(
                "security_opt", ["no-new-privileges:true"], ["apparmor:unconfined"]
            ),
            "privileged": put("privileged", True),
            "devices": put("devices", ["/dev/dri:/dev/dri"], ["/dev/net/tun"]),
            "stop_signal": put("stop_signal", "SIGINT"),
            "platform": put("platform", "linux/amd64"),
            "mem_limit": put("mem_limit", "256m", "2g", 268435456, "512MB"),
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
            "./data:/data2:z",
            "./certs:/certs:ro,Z",
            "${CONFIG_DIR:-./config}:/etc/app",
            "./entrypoint.sh:/entrypoint.sh:ro",
            ".:/app",
            "app-uploads:/app/uploads:rw",
            {
                "type": "bind",
                "source": "./db",
                "target": "/db",
                "read_only": True,
                "bind": {"create_host_path": True},
            },
            {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 1048576}},
            {"type": "volume", "target": "/anonymous", "volume": {"nocopy": True}},
        ]
        app["volumes"] = self.random.sample(mounts, self.random.randint(1, 4))
        if self.has("time_zone_files"):
            app["volumes"].append("/etc/localtime:/etc/localtime:ro")
        if self.has("engine_socket"):
            app["volumes"].append("/var/run/docker.sock:/var/run/docker.sock:ro")
        if self.has("host_folder"):
            app["volumes"].append(
                self.pick(
                    "/mnt/media:/media",
                    "~/data:/data3",
                    "../shared:/shared",
                    "${DATA_DIR}:/data4",
                    "/:/rootfs:ro",
                    "$PWD/app:/srv/app",
                )
            )

    def _environment(self, app: dict[str, Any], _: list[str]) -> None:
        app["environment"] = self.pick(
            {"TZ": "Europe/Berlin", "DEBUG": True, "WORKERS": 4, "EMPTY": None, "RATIO": 1.5},
            {"ENABLED": "yes", "SINCE": "2024-01-01", "MASK": "0022", "BIG": 10**18, "VOID": ""},
            ['JSON={"a": [1, 2]}', "EQUALS=a=b=c", "EMPTY=", "SPACES= a b ", "HASH=a#b"],
            {"A": "${A:-${B:-c}}", "C": "${C-}", "D": "${D:+set}", "E": "$$HOME", "UMLAUT": "äß"},
            {"KEY": "-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n", "PORT": "${PORT}"},
            [],
            ["PUID=1000", "PGID=1000", "TZ=Etc/UTC", "PASSED_ON"],
            {"DATABASE_URL": "postgres://app:${DB_PASSWORD:-app}@db:5432/app"},
            ["SECRET=$SECRET_KEY", "URL=${URL:-http://localhost:${PORT:-3000}}", "SALT=a$$b"],
        )
        if self.has("required_variable"):
            app["environment"] = {"KEY": "${KEY:?set it}", "HOST": "${HOST?}"}

    def _top_level(self, services: dict[str, Any]) -> None:
        named = {
            mount.split(":")[0] if isinstance(mount, str) else mount["source"]
            for service in services.values()
            for mount in service.get("volumes", [])
            if (isinstance(mount, str) and ":" in mount and mount[0] not in "./~$")
            or (isinstance(mount, dict) and mount["type"] == "volume" and "source" in mount)
        }
        if named - {"undeclared"}:
            self.top["volumes"] = {
                name: self.pick(
                    *(None, None, None, {}, {"driver": "local"}, {"name": f"acme_{name}"}),
                    {"labels": {"backup": "daily"}},
                    {"external": True} if self.random.random() < 0.2 else None,
                )
                for name in sorted(named - {"undeclared"})
            }
        if self.has("networks"):
            self.top["networks"] = self.pick(
                {"backend": None},
                {"proxy": {"external": True}},
                {"backend": {"driver": "bridge", "internal": True}, "web": {}},
                {"backend": {"ipam": {"config": [{"subnet": "172.28.0.0/16"}]}}},
                {"default": {"name": "acme", "driver_opts": {"com.docker.network.mtu": 1450}}},
            )
            network = next(iter(self.top["networks"]))
            for service in services.values():
                service["networks"] = self.pick(
                    [network],
                    {network: {"aliases": ["app.internal"]}},
                    {network: {"ipv4_address": "172.28.0.10"}},
                    {network: None},
                )
        if self.has("x-"):
            self.top[self.pick("x-logging", "x-casaos", "x-env")] = {"driver": "json-file"}
        if self.has("top_level_name"):
            self.top["name"] = self.pick("acme", "my-app", "${PROJECT:-acme}")
        first = next(iter(services.values()))
        if self.has("secrets"):
            self.top["secrets"] = {
                "db_password": self.pick(
                    {"file": "./secrets/db_password.txt"},
                    {"environment": "DB_PASSWORD"},
                    {"external": True},
                )
            }
            first["secrets"] = self.pick(["db_password"], [{"source": "db_password", "mode": 288}])
        if self.has("configs"):
            self.top["configs"] = {
                "app": self.pick({"content": "port = ${PORT:-80}\n"}, {"file": "./app.ini"})
            }
            first["configs"] = [{"source": "app", "target": "/etc/app.ini"}]


@dataclass(frozen=True)
class Stack:
    """The folder of a generated file, and what its `sandbox.yaml` can say."""

    folder: Path
    endpoint: dict[str, Any]
    additions: dict[str, Any]
    """What the remedies of `blueprint check` ask for."""

    def problems(self, section: dict[str, Any]) -> Sequence[Problem]:
        """Return what is wrong with the blueprint after a `sandbox.yaml` was added."""
        from sandboxes.blueprints.loader import inspect

        section = {"title": "Imported stack", "endpoints": {"web": self.endpoint}, **section}
        (self.folder / "sandbox.yaml").write_text(yaml.safe_dump(section))
        return inspect(self.folder, memory_mb=512, cpus=1.0).problems


@dataclass
class Result:
    """How many files pass, and why others don't."""

    count: int
    with_endpoint: int = 0
    """Files that need only the name of their endpoint."""
    passed: int = 0
    """Files that need only a `sandbox.yaml`."""
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.passed / self.count

    def __str__(self) -> str:
        return (
            f"{self.share:.1%} of {self.count} files pass with a sandbox.yaml, "
            f"{self.with_endpoint / self.count:.1%} if it names only an endpoint"
        )


def write_stacks(folder: Path, count: int, seed: int) -> Iterator[Stack]:
    """Write Compose files into folders below another one."""
    for number in range(count):
        generator = Generator(seed + number)
        content, service, port = generator.file()
        own = folder / f"stack-{number}"
        own.mkdir()
        (own / "Dockerfile").touch()
        name = "docker-compose.yml" if number % 2 else "compose.yaml"
        text = generator.text(content)
        (own / name).write_text(text)
        yield Stack(own, {"service": service, "port": port}, additions(content, text))


def additions(content: dict[str, Any], text: str) -> dict[str, Any]:
    """Return keys of a `sandbox.yaml`: required variables, users other than root, profiles."""
    services = content["services"]
    names = {first or second for first, second in REQUIRED.findall(text)}
    root = [name for name, one in services.items() if one.get("user") in ("root", "0:0")]
    return {
        "secrets": {name: {} for name in sorted(names)},
        "users": dict.fromkeys(root, "1000"),
        "profiles": sorted({name for one in services.values() for name in one.get("profiles", [])}),
    }


def judge(folder: Path, count: int, seed: int = 1) -> Result:
    """Return how many generated files pass, and how often each message refused one."""
    result = Result(count)
    for stack in write_stacks(folder, count, seed):
        problems = stack.problems({})
        result.with_endpoint += not problems
        problems = problems and stack.problems(stack.additions)
        result.passed += not problems
        result.reasons.update({f"{key_of(one)}: {one.message}" for one in problems})
    return result


def key_of(problem: Problem) -> str:
    """Return the key of a problem without the names and numbers before and after it."""
    return next((part for part in problem.key.split(".")[::-1] if not part.isdecimal()), "")


def main() -> None:
    import django

    django.setup()
    count = int(sys.argv[1])
    with TemporaryDirectory() as folder:
        result = judge(Path(folder), count)
    commit = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    sys.stdout.write(f"{result} ({datetime.now(UTC):%Y-%m-%d}, commit {commit}).\n")
    for reason, number in result.reasons.most_common():
        sys.stdout.write(f"{number:6} {reason}\n")


if __name__ == "__main__":
    main()
