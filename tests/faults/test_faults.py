"""The short form of every scenario."""
import json
import pathlib
import subprocess
import sys

import pytest
import scenarios
from world import cloudflared

HERE = pathlib.Path(__file__).resolve().parent
# What waits most comes first: it runs beside everything else.
CASES = sorted(((s, *way) for s in scenarios.SCENARIOS.values() for way in s.short_ways), key=lambda case: -case[0].estimate)


@pytest.mark.parametrize("scenario, connector, transport", CASES, ids=lambda value: getattr(value, "name", value))
def test_a_promise_is_kept(scenario, connector, transport):
    if connector == "cloudflared" and not cloudflared():
        pytest.skip("there is no cloudflared ($CLOUDFLARED, PATH)")
    done = subprocess.run([sys.executable, HERE / "run", "--short", "--one", scenario.name, connector, transport], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert "failed" not in result, f"{scenario.promise}: {result['failed']}"
