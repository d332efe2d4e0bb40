"""A tunnel whose connector has rules of its own, and the real nginx as an origin that says what it saw of its connections."""
import json
import os
import socket
import subprocess
import urllib.request

from conftest import BUILD, SANITIZER, Edge, Program, cloudflared, edge_flags, until

CREDENTIALS = "credentials.json"


class Ruled:
    """An edge and a connector, adit unless cloudflared is asked for, with the rules of a text. HOST in it is the tunnel's hostname."""

    def __init__(self, where, rules, kind="adit", env=None, connections=1):
        self.dir, self.kind = where, kind
        self.edge = Edge(where)
        asked = urllib.request.Request(f"http://{self.edge.addresses['local']}/tunnel", data=b"")
        tunnel = json.loads(urllib.request.urlopen(asked).read())["result"]
        self.host = tunnel["hostname"]
        (where / "config.yml").write_text(rules.replace("HOST", self.host))
        (where / CREDENTIALS).write_text(json.dumps({"AccountTag": tunnel["account_tag"], "TunnelID": tunnel["id"],
                                                     "TunnelSecret": tunnel["secret"]}))
        os.chmod(where / CREDENTIALS, 0o400)
        flags = ["--config", where / "config.yml", "--credentials-file", where / CREDENTIALS, "--cacert", self.edge.dir / "ca.pem",
                 "--metrics", "127.0.0.1:0", "--protocol", "quic", "--grace-period", "1s"]
        if kind == "adit":
            command = [BUILD / "adit", "tunnel", "run", "--ha-connections", str(connections), "--loglevel", "debug", *flags,
                       *edge_flags(self.edge, connections),
                       tunnel["id"]]
        else:
            command = [cloudflared(), "tunnel", "--no-autoupdate", "--no-prechecks", *flags, *edge_flags(self.edge, 2), "run", tunnel["id"]]
        self.connector = Program(command, where / "connector.log", cwd=where, env={**SANITIZER, **(env or {})})
        try:
            self.connector.wait_for("Registered tunnel connection")
        except AssertionError:
            self.connector.stop()
            self.edge.stop()
            raise

    def metrics(self):
        import re

        address = re.search(r"127\.0\.0\.1:\d+/metrics|metrics[^\n]*?(127\.0\.0\.1:\d+)", self.connector.text())
        where = address.group(1) or address.group(0).split("/")[0]
        return urllib.request.urlopen(f"http://{where}/metrics", timeout=20).read().decode()

    def stop(self):
        code, edge_code = self.connector.stop(), self.edge.stop()
        assert edge_code == 0, self.edge.text()[-3000:]
        if self.kind == "adit":
            assert code == 0, self.connector.text()[-6000:]
            assert "runtime error" not in self.connector.text() and "Sanitizer" not in self.connector.text(), self.connector.text()[-6000:]


def bound():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(128)
    return s


def certificates(where):
    """An authority, a server's certificate for origin.test, localhost and 127.0.0.1, and a client's."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=where)

    def key(name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}-key.pem"]

    openssl("req", "-x509", *key("ca"), "-days", "30", "-subj", "/CN=test authority", "-out", "ca.pem")
    for name, alternatives in (("server", "DNS:origin.test,DNS:localhost,IP:127.0.0.1"), ("client", "DNS:connector.test")):
        openssl("req", *key(name), "-subj", f"/CN={name}.test", "-out", f"{name}.csr")
        (where / f"{name}.ext").write_text(f"subjectAltName={alternatives}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "30", "-extfile",
                f"{name}.ext", "-out", f"{name}.pem")
        os.chmod(where / f"{name}-key.pem", 0o600)


NGINX = """
daemon off;
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    ssl_certificate {dir}/server.pem;
    ssl_certificate_key {dir}/server-key.pem;
    ssl_client_certificate {dir}/ca.pem;
    {servers}
}}
"""

# One server for each name; what stands before the braces goes into its listen line.
SERVERS = {
    "plain": ("", 'location / { return 200 "$connection $connection_requests $request_uri\\n"; }'),
    "host": ("", 'location / { return 200 "$host $http_x_forwarded_host\\n"; }'),
    "tls": ("ssl", 'location / { return 200 "<$ssl_server_name>"; }'),
    "http2": ("ssl http2", 'location / { return 200 "$server_protocol $connection $request_uri\\n"; }'),
    "proxied": ("proxy_protocol", 'location / { return 200 "$proxy_protocol_addr,$proxy_protocol_port,$proxy_protocol_server_addr,'
                                  '$proxy_protocol_server_port,$connection"; }'),
    "proxied_tls": ("ssl proxy_protocol", 'location / { return 200 "$proxy_protocol_addr $ssl_protocol\\n"; }'),
    "mutual": ("ssl", 'ssl_verify_client on; location / { return 200 "$ssl_client_verify $ssl_client_s_dn\\n"; }'),
}


class Nginx:
    """Its sockets are bound here, to port 0, and handed over as nginx's own binary upgrade does it."""

    def __init__(self, where):
        self.dir = where
        certificates(where)
        sockets = {name: bound() for name in SERVERS}
        self.ports = {name: s.getsockname()[1] for name, s in sockets.items()}
        servers = "\n".join(f"server {{ listen 127.0.0.1:{self.ports[name]} {words}; {text} }}" for name, (words, text) in SERVERS.items())
        servers += f' server {{ listen unix:{where}/proxied.sock proxy_protocol; {SERVERS["proxied"][1]} }}'
        (where / "nginx.conf").write_text(NGINX.format(dir=where, servers=servers, user="user root;" if os.geteuid() == 0 else ""))
        fds = [s.fileno() for s in sockets.values()]
        env = dict(os.environ, NGINX="".join(f"{fd};" for fd in fds))
        self.log = open(where / "start.log", "w")
        self.process = subprocess.Popen(["nginx", "-p", str(where), "-c", str(where / "nginx.conf")], env=env, pass_fds=fds,
                                        stdout=self.log, stderr=self.log)
        for s in sockets.values():
            s.close()

        def ready():
            assert self.process.poll() is None, (where / "start.log").read_text()
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.ports['plain']}/", timeout=20).status == 200
            except OSError:
                return False

        until(ready, "nginx answers")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
