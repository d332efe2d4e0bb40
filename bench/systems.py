"""What is compared: each system is a way to the one origin, with its own processes. A system is started anew in every round."""
import os
import pathlib
import re
import shutil
import subprocess

import loads
from loads import Target
from programs import TOP, Failure, Program, find, free_port, listens, until

# Like the tests': another build's directory may be named.
BUILD = pathlib.Path(os.environ.get("ADIT_BUILD", TOP / "build")) / "src/prog"
HOST = "bench.localhost"
SERVICES = r"^/(up|ws)"


def version_of(command, pattern=r"\d+\.\d+[\w.+-]*"):
    """A version, out of what a program says."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else "?"


class Origin:
    """nginx with small answers and sparse files, and origin.py for uploads and websockets."""

    def __init__(self, where, big, part):
        self.dir = where / "origin"
        self.web, self.service = free_port(), free_port()
        (self.dir / "files").mkdir(parents=True)
        for name, size in (("big", big), ("part", part)):
            with open(self.dir / "files" / name, "wb") as file:
                file.truncate(size)
        # A path of its own and not `/`, so that the answer needs no file at all.
        nginx(self.dir, "origin", f"""
            sendfile on; sendfile_max_chunk 1m; tcp_nodelay on; tcp_nopush on;
            server {{
                listen 127.0.0.1:{self.web} backlog=4096;
                root {self.dir}/files;
                default_type application/octet-stream;
                location = / {{ default_type text/plain; return 200 "Hello from the origin of the benchmark.\\n"; }}
            }}""")
        program = Program("origin", ["python3", TOP / "bench/origin.py", self.service], self.dir / "services.log")
        until(lambda: listens(self.web) and listens(self.service), "the origin", programs=[program])


def nginx(where, side, http):
    """An nginx with one http block; its master stays a child of ours."""
    where.mkdir(exist_ok=True)
    (where / "tmp").mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (where / "nginx.conf").write_text(f"""
        {user} daemon off; worker_processes auto; pid {where}/nginx.pid; error_log {where}/error.log warn;
        worker_rlimit_nofile 65536;
        events {{ worker_connections 8192; }}
        http {{
            access_log off; keepalive_requests 1000000000; client_max_body_size 0;
            client_body_temp_path {where}/tmp; proxy_temp_path {where}/tmp; fastcgi_temp_path {where}/tmp;
            uwsgi_temp_path {where}/tmp; scgi_temp_path {where}/tmp;
            {http}
        }}
        """)
    return Program(side, [find("nginx", "/usr/sbin/nginx"), "-p", where, "-c", where / "nginx.conf", "-e", where / "error.log"], where / "nginx.log")


class System:
    """name: what --only says. title: what the table says. programs: what must be there, by side."""

    name = title = ""
    measures_processes = True
    rows = None  # those that are measured of it; None for all
    is_tunnel = True  # has a client that comes back when its server was away
    without_replicas = None  # why there is no second client for the same thing, or None

    def __init__(self, where, origin):
        self.dir = where / self.name
        self.dir.mkdir()
        self.origin = origin
        self.programs = []

    @classmethod
    def binaries(cls):
        """{side: (program, where to look first)}"""
        return {}

    @classmethod
    def paths(cls):
        return {side: find(*where) for side, where in cls.binaries().items()}

    @classmethod
    def missing(cls):
        return [where[0] for side, where in cls.binaries().items() if cls.paths()[side] is None]

    @classmethod
    def versions(cls):
        return {}

    def prepare(self):
        """Once, before the first round: keys, configuration."""

    def start(self):
        """Starts the processes; they need not serve yet."""

    def start_server(self):
        """Starts everything but clients, where those can be several."""

    def serve(self):
        """Starts the server, at the ports that it had before."""

    def client(self, number=1):
        """Starts a client; a second one serves the same."""

    def is_registered(self, client):
        """Whether everything that this client has to set up at the server is there."""

    def run(self, side, *command, number=1):
        program = Program(side, command, self.dir / (f"{side}.log" if number == 1 else f"{side}-{number}.log"), cwd=self.dir)
        self.programs.append(program)
        return program

    def kill(self, program):
        program.kill()
        self.programs.remove(program)

    def server(self):
        return next(program for program in self.programs if program.side == "server")

    def is_up(self):
        for program in self.programs:
            program.check()
        return loads.is_served(self.web)

    def stop(self):
        for program in reversed(self.programs):
            program.stop()
        self.programs = []


class Direct(System):
    name, title = "direct", "direct"
    measures_processes = is_tunnel = False

    def start(self):
        self.web = Target(self.origin.web, False, HOST)
        self.service = Target(self.origin.service, False, HOST)


class Nginx(System):
    name, title = "nginx", "nginx, one TLS hop"
    is_tunnel = False

    @classmethod
    def binaries(cls):
        return {"server": ("nginx", "/usr/sbin/nginx")}

    @classmethod
    def versions(cls):
        return {"nginx": version_of([cls.paths()["server"], "-v"])}

    def prepare(self):
        certificate(self.dir)

    def start(self):
        port = free_port()
        proxy = "proxy_http_version 1.1; proxy_set_header Host $host; proxy_buffering on; proxy_max_temp_file_size 0; proxy_request_buffering off;"
        self.programs.append(nginx(self.dir, "server", f"""
            upstream web {{ server 127.0.0.1:{self.origin.web}; keepalive 128; keepalive_requests 1000000000; }}
            upstream service {{ server 127.0.0.1:{self.origin.service}; keepalive 128; keepalive_requests 1000000000; }}
            server {{
                listen 127.0.0.1:{port} ssl backlog=4096;
                ssl_certificate {self.dir}/cert.pem; ssl_certificate_key {self.dir}/key.pem; ssl_protocols TLSv1.3;
                location / {{ {proxy} proxy_set_header Connection ""; proxy_pass http://web; }}
                location /up {{ {proxy} proxy_set_header Connection ""; proxy_pass http://service; }}
                location /ws {{ {proxy} proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;
                               proxy_read_timeout 1h; proxy_pass http://service; }}
            }}"""))
        self.web = self.service = Target(port, True, HOST)


class Adit(System):
    """adit-edge with a named tunnel; the visitor comes over HTTP."""

    name, title, tls, connector, transport = "adit", "adit + adit-edge", False, "adit", "quic"

    @classmethod
    def binaries(cls):
        return {"server": ("adit-edge", BUILD / "adit-edge"), "client": ("adit", BUILD / "adit")}

    @classmethod
    def versions(cls):
        return {"adit": version_of([find("adit", BUILD / "adit"), "version"])}

    def prepare(self):
        self.edge = find("adit-edge", BUILD / "adit-edge")
        adit = find("adit", BUILD / "adit")
        self.take_ports()
        self.serve()
        for words in (["create", "--credentials-file", self.dir / "tunnel.json", "bench"], ["route", "dns", "bench", HOST]):
            done = subprocess.run([adit, "tunnel", "--data-dir", self.dir / "data", *words], cwd=self.dir, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=30)
            if done.returncode:
                raise Failure(f"adit tunnel {words[0]}: {done.stderr.strip()}")
        self.stop()
        tunnel = re.search(r'"TunnelID": *"([^"]+)"', (self.dir / "tunnel.json").read_text())[1]
        (self.dir / "config.yml").write_text(f"""
tunnel: {tunnel}
credentials-file: {self.dir}/tunnel.json
ingress:
  - hostname: {HOST}
    path: {SERVICES}
    service: http://127.0.0.1:{self.origin.service}
  - service: http://127.0.0.1:{self.origin.web}
""")

    def take_ports(self):
        self.tunnel, self.http, self.https, self.local = (free_port() for _ in range(4))
        self.web = self.service = Target(self.https if self.tls else self.http, self.tls, HOST)

    def serve(self):
        addresses = self.dir / "data/addresses.json"
        addresses.unlink(missing_ok=True)
        edge = self.run("server", self.edge, "serve", "--data-dir", self.dir / "data", "--grace-period", "1s", "--tunnel", f"127.0.0.1:{self.tunnel}",
                        "--http", f"127.0.0.1:{self.http}", "--https", f"127.0.0.1:{self.https}", "--local", f"127.0.0.1:{self.local}")
        until(lambda: addresses.exists() and addresses.stat().st_size, "the edge is ready", programs=[edge])

    def client(self, number=1):
        ways = ["--edge", f"127.0.0.1:{self.tunnel}"]
        # The number of cloudflared's connections is that of the addresses: it gets four, as adit makes.
        more = ["--no-autoupdate", "--no-prechecks", *ways * 3] if self.connector == "cloudflared" else []
        return self.run("client", self.paths()["client"], "tunnel", "--config", self.dir / "config.yml", "--protocol", self.transport, *ways, *more,
                        "--cacert", self.dir / "data/ca.pem", "--metrics", "127.0.0.1:0", "--grace-period", "1s", "run", number=number)

    def is_registered(self, client):
        return client.log.read_text(errors="replace").count("Registered tunnel connection") >= 4

    def start_server(self):
        self.take_ports()
        self.serve()

    def start(self):
        self.start_server()
        self.client()


# What the way between the halves has a part in; memory and size are those of the other transport.
OF_TRANSPORT = ("start", "requests", "latency", "down", "up", "down8", "failover", "reconnect")


class AditH2(Adit):
    name, title, transport, rows = "adit-h2", "adit + adit-edge, HTTP/2", "http2", OF_TRANSPORT


class AditHttps(Adit):
    name, title, tls = "adit-https", "adit + adit-edge, visitor over TLS", True
    rows = ("start", "requests", "latency", "down", "up", "down8", "rss", "websockets", "size")  # visitors do not matter to the others


class Cloudflared(Adit):
    name, title, connector = "cloudflared", "cloudflared + adit-edge", "cloudflared"

    @classmethod
    def binaries(cls):
        return {"server": ("adit-edge", BUILD / "adit-edge"),
                "client": ("cloudflared", os.environ.get("CLOUDFLARED"), shutil.which("cloudflared"), TOP.parent / "shared/peers/cloudflared")}

    @classmethod
    def versions(cls):
        return {"cloudflared": version_of([cls.paths()["client"], "--version"])}


class CloudflaredH2(Cloudflared):
    name, title, transport, rows = "cloudflared-h2", "cloudflared + adit-edge, HTTP/2", "http2", OF_TRANSPORT


class FrpHttp(System):
    name, title, kind = "frp-http", "frp http, TLS", "http"

    @classmethod
    def binaries(cls):
        return {"server": ("frps",), "client": ("frpc",)}

    @classmethod
    def versions(cls):
        return {"frp": version_of([cls.paths()["client"], "--version"])}

    def prepare(self):
        certificate(self.dir)

    def start_server(self):
        self.control, web, service = free_port(), free_port(), free_port()
        self.web = Target(web, False, HOST)
        self.service = self.web if self.kind == "http" else Target(service, False, HOST)
        tls = f'transport.tls.certFile = "{self.dir}/cert.pem"\ntransport.tls.keyFile = "{self.dir}/key.pem"\n'
        (self.dir / "frps.toml").write_text(f'bindAddr = "127.0.0.1"\nbindPort = {self.control}\nproxyBindAddr = "127.0.0.1"\nlog.level = "warn"\n'
                                            f"{f'vhostHTTPPort = {web}' if self.kind == 'http' else ''}\ntransport.tls.force = true\n{tls}")
        self.serve()

    def start(self):
        self.start_server()
        self.write_client("frpc.toml", "warn", ("web", "service"))
        self.run("client", self.paths()["client"], "-c", self.dir / "frpc.toml")

    def write_client(self, name, level, which, suffix="", group=""):
        about = {"web": (self.origin.web, self.web.port, ["/"]), "service": (self.origin.service, self.service.port, ["/up", "/ws"])}
        proxies = ""
        for proxy in which:
            port, remote, ways = about[proxy]
            way = f'customDomains = ["{HOST}"]\nlocations = {ways}' if self.kind == "http" else f"remotePort = {remote}"
            proxies += f'[[proxies]]\nname = "{proxy}{suffix}"\ntype = "{self.kind}"\nlocalIP = "127.0.0.1"\nlocalPort = {port}\n{way}\n{group}'
        (self.dir / name).write_text(f'serverAddr = "127.0.0.1"\nserverPort = {self.control}\nlog.level = "{level}"\ntransport.tls.enable = true\n'
                                     f'transport.tls.trustedCaFile = "{self.dir}/cert.pem"\ntransport.tls.serverName = "localhost"\n{proxies}')

    def serve(self):
        server = self.run("server", self.paths()["server"], "-c", self.dir / "frps.toml")
        until(lambda: listens(self.control), "frps listens", programs=[server])

    def client(self, number=1):
        """One of a group, which frps divides connections among. A proxy of two locations cannot be in one."""
        name = f"frpc-{number}.toml"
        self.write_client(name, "info", ["web"], f"-{number}", 'loadBalancer.group = "web"\nloadBalancer.groupKey = "bench"\n')
        return self.run("client", self.paths()["client"], "-c", self.dir / name, number=number)

    def is_registered(self, client):
        return client.log.read_text(errors="replace").count("start proxy success") >= 1


class FrpTcp(FrpHttp):
    name, title, kind = "frp-tcp", "frp tcp, TLS", "tcp"


class Rathole(System):
    name, title = "rathole", "rathole, TLS"
    without_replicas = "a second client takes the service away from the first"

    @classmethod
    def binaries(cls):
        return {"server": ("rathole",), "client": ("rathole",)}

    @classmethod
    def versions(cls):
        return {"rathole": version_of([cls.paths()["client"], "--version"], r"(?<=Build Version:)\s+\S+").strip()}

    def prepare(self):
        certificate(self.dir)
        subprocess.run(["openssl", "pkcs12", "-export", "-in", self.dir / "cert.pem", "-inkey", self.dir / "key.pem", "-out", self.dir / "identity.pfx",
                        "-passout", "pass:bench"], check=True, capture_output=True, timeout=60)

    def start(self):
        control, web, service = free_port(), free_port(), free_port()
        (self.dir / "server.toml").write_text(f"""
[server]
bind_addr = "127.0.0.1:{control}"
default_token = "bench"
[server.transport]
type = "tls"
[server.transport.tls]
pkcs12 = "{self.dir}/identity.pfx"
pkcs12_password = "bench"
[server.services.web]
bind_addr = "127.0.0.1:{web}"
[server.services.service]
bind_addr = "127.0.0.1:{service}"
""")
        (self.dir / "client.toml").write_text(f"""
[client]
remote_addr = "127.0.0.1:{control}"
default_token = "bench"
[client.transport]
type = "tls"
[client.transport.tls]
trusted_root = "{self.dir}/cert.pem"
hostname = "localhost"
[client.services.web]
local_addr = "127.0.0.1:{self.origin.web}"
[client.services.service]
local_addr = "127.0.0.1:{self.origin.service}"
""")
        self.control, self.web, self.service = control, Target(web, False, HOST), Target(service, False, HOST)
        self.serve()
        self.run("client", self.paths()["client"], "--client", self.dir / "client.toml")

    def serve(self):
        server = self.run("server", self.paths()["server"], "--server", self.dir / "server.toml")
        until(lambda: listens(self.control), "rathole listens", programs=[server])


class Chisel(System):
    name, title = "chisel", "chisel"
    without_replicas = "a second client is refused the ports of the first"

    @classmethod
    def binaries(cls):
        return {"server": ("chisel",), "client": ("chisel",)}

    @classmethod
    def versions(cls):
        return {"chisel": version_of([cls.paths()["client"], "--version"])}

    def start(self):
        self.control, web, service = free_port(), free_port(), free_port()
        self.web, self.service = Target(web, False, HOST), Target(service, False, HOST)
        self.serve()
        self.run("client", self.paths()["client"], "client", f"http://127.0.0.1:{self.control}", f"R:127.0.0.1:{web}:127.0.0.1:{self.origin.web}",
                 f"R:127.0.0.1:{service}:127.0.0.1:{self.origin.service}")

    def serve(self):
        server = self.run("server", self.paths()["server"], "server", "--host", "127.0.0.1", "--port", self.control, "--reverse")
        until(lambda: listens(self.control), "chisel listens", programs=[server])


def certificate(where):
    """A key and a certificate that is its own root, for localhost and 127.0.0.1."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", where / "key.pem",
                    "-out", where / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True, timeout=60)


ALL = [Direct, Nginx, Adit, AditHttps, AditH2, Cloudflared, CloudflaredH2, FrpHttp, FrpTcp, Rathole, Chisel]
