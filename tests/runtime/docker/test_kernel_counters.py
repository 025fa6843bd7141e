"""Usage from the kernel's files, with either version of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes.runtime.docker.measurements import kernel_counters
from sandboxes.runtime.docker.measurements.kernel_counters import CpuMemory, cgroup_usage

MB = 1024 * 1024
V1 = {
    "memory/docker/web/memory.usage_in_bytes": f"{5 * MB}\n",
    "memory/docker/web/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * MB}\nactive 9\n",
    "cpuacct/docker/web/cpuacct.usage": "1500000000\n",
}
V2 = {
    "memory.current": f"{5 * MB}\n",
    "memory.stat": f"anon 7\ninactive_file {2 * MB}\nactive_file 9\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 9\n",
}


@pytest.mark.parametrize(
    "files",
    [
        V1,
        {f"docker/web/{name}": text for name, text in V2.items()},
        {f"system.slice/docker-web.scope/{name}": text for name, text in V2.items()},
    ],
    ids=["v1", "v2", "v2 with systemd"],
)
def test_memory_and_cpu_time_are_read_from_the_control_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str]
) -> None:
    monkeypatch.setattr(kernel_counters, "CGROUPS", tmp_path)
    assert cgroup_usage("web") is None
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_usage("web") == CpuMemory(memory_mb=3.0, cpu_seconds=1.5)
