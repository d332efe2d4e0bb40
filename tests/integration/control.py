"""The control plane from outside: its API over a socket, and both command lines."""
import base64
import http.client
import json
import os
import subprocess

from conftest import BUILD, SANITIZER, cloudflared, edge_flags


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.raw = response.read()
        self.body = json.loads(self.raw) if self.raw else None

    @property
    def result(self):
        assert self.status == 200 and self.body["success"] is True, self.raw
        return self.body["result"]

    @property
    def code(self):
        assert self.status >= 400 and self.body["success"] is False, self.raw
        return self.body["errors"][0]["code"]


class Api:
    """Calls with the admin token, unless other headers are given."""

    def __init__(self, edge):
        self.local = edge.addresses["local"]
        self.token = (edge.dir / "admin-token").read_text()
        self.account = self("GET", "/accounts").result[0]["id"]
        self.zones = {zone["name"]: zone["id"] for zone in self("GET", "/zones").result}
        self.tunnels = f"/accounts/{self.account}/cfd_tunnel"

    def __call__(self, method, path, body=None, headers=None, base="/client/v4"):
        connection = http.client.HTTPConnection(*self.local.split(":"), timeout=30)
        headers = {"Authorization": f"Bearer {self.token}"} if headers is None else headers
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        connection.request(method, base + path, data, headers)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def create(self, name, **more):
        return self("POST", self.tunnels, {"name": name, **more}).result

    def connections(self, tunnel):
        return [conn for client in self("GET", f"{self.tunnels}/{tunnel}/connections").result for conn in client["conns"]]


def write_cert(edge, path, *flags):
    """cert.pem as `adit-edge cert` prints it."""
    done = subprocess.run([BUILD / "adit-edge", "cert", "--data-dir", edge.dir, *flags], capture_output=True, env=environment(edge.dir))
    assert done.returncode == 0, done.stderr
    path.write_bytes(done.stdout)
    return path


def read_cert(path):
    lines = path.read_text().strip().splitlines()
    assert lines[0] == "-----BEGIN ARGO TUNNEL TOKEN-----" and lines[-1] == "-----END ARGO TUNNEL TOKEN-----"
    return json.loads(base64.b64decode("".join(lines[1:-1])))


def environment(home, **more):
    """Nothing of whoever runs the tests: no configuration, no token."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TUNNEL_", "ADIT_"))}
    return {**env, **SANITIZER, "HOME": str(home), **more}


def program(kind):
    return BUILD / "adit" if kind == "adit" else cloudflared()


class CommandLine:
    """`adit` or `cloudflared` with a home, a directory and a cert.pem of their own."""

    def __init__(self, kind, edge, where):
        self.kind, self.edge, self.where = kind, edge, where
        where.mkdir(exist_ok=True)
        self.cert = write_cert(edge, where / "cert.pem")

    def __call__(self, *args, status=0, env=None, stdin=None):
        done = subprocess.run([str(word) for word in (program(self.kind), "--origincert", self.cert, "tunnel", "--api-url", self.edge.api, *args)],
                              capture_output=True, text=True, cwd=self.where, env=environment(self.where, **(env or {})), input=stdin, timeout=60)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        assert status is None or done.returncode == status, (args, done.returncode, done.stdout, done.stderr)
        return done

    def create(self, name):
        """The tunnel's id; its credentials are beside cert.pem."""
        made = json.loads(self("create", "-o", "json", name).stdout)
        assert (self.where / f"{made['id']}.json").stat().st_mode & 0o777 == 0o400
        return made["id"]


def run_command(kind, edge, *args, trust=True, before=()):
    """tunnel run; `trust`: say where the edge is and what its CA."""
    where = [*edge_flags(edge, 2), "--cacert", edge.dir / "ca.pem"] if trust else []
    # Without a token, cloudflared asks the Internet which protocol to begin with, and takes HTTP/2 when there is no answer.
    quiet = ["--no-autoupdate", "--no-prechecks", "--protocol", "quic"]
    return [program(kind), *before, "tunnel", *quiet, "--grace-period", "1s", "--metrics", "127.0.0.1:0", *where, "run", *args]


def parse_token(token):
    return json.loads(base64.b64decode(token, validate=True))


def make_token(fields):
    return base64.b64encode(json.dumps(fields).encode()).decode()
