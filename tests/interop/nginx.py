"""Runs the real nginx as an origin: on plain TCP, on TLS and on a unix socket, with one location for each behaviour.

Its sockets are bound here, to port 0, and handed over as nginx's own binary upgrade does it (the variable NGINX lists the
descriptors), so no port is ever guessed.
"""
import datetime
import ipaddress
import os
import socket
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import until

TEXT = "".join(f"line {i} of a file that a visitor asks for\n" for i in range(4000)).encode()
BINARY = bytes(i * i % 251 for i in range(300_000))

CONF = """
daemon off;
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 64m;
    types {{ text/plain txt; application/octet-stream bin; }}
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        listen unix:{dir}/http.sock;
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        root {dir}/www;
        add_header X-Scheme $scheme;
        location /gzip/ {{
            alias {dir}/www/;
            gzip on;
            gzip_min_length 100;
            gzip_proxied any;
            gzip_types text/plain;
        }}
        location /slow/ {{ alias {dir}/www/; limit_rate 400k; }}
        location /close/ {{ alias {dir}/www/; keepalive_timeout 0; }}
        location = /connection {{ return 200 "$connection $connection_requests\\n"; }}
        location = /echo {{ return 200 "$request_method $host $http_x_forwarded_proto $server_protocol\\n"; }}
        location = /redirect {{ return 302 http://$host/elsewhere; }}
        location = /drop {{ return 444; }}
        location /dav/ {{
            alias {dir}/dav/;
            dav_methods PUT DELETE MKCOL;
            client_body_temp_path {dir}/body;
        }}
        location /post {{
            client_body_in_file_only on;
            add_header X-Body-File $request_body_file;
            proxy_http_version 1.1;
            proxy_pass http://unix:{dir}/sink.sock;
        }}
    }}
    server {{
        listen unix:{dir}/sink.sock;
        location / {{ return 200 "$request_method $content_length\\n"; }}
    }}
    server {{
        # Says goodbye after every third request of a connection.
        listen 127.0.0.1:{impatient};
        keepalive_requests 3;
        root {dir}/www;
        location = /connection {{ return 200 "$connection $connection_requests\\n"; }}
    }}
}}
"""


def self_signed(path_cert, path_key, names):
    """A certificate that is its own authority, for names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    alternatives = []
    for text in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            alternatives.append(x509.DNSName(text))
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256()))
    path_cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    path_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))


def bound():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(128)
    return s


class Nginx:
    def __init__(self, program, where):
        self.dir = where
        sockets = {name: bound() for name in ("http", "https", "impatient")}
        self.ports = {name: s.getsockname()[1] for name, s in sockets.items()}
        for folder in ("www", "dav", "body"):
            (where / folder).mkdir()
        (where / "www/page.txt").write_bytes(TEXT)
        (where / "www/data.bin").write_bytes(BINARY)
        (where / "www/empty.txt").write_bytes(b"")
        self_signed(where / "cert.pem", where / "key.pem", ["nginx.test", "127.0.0.1"])
        self_signed(where / "other-cert.pem", where / "other-key.pem", ["nginx.test", "127.0.0.1"])
        user = "user root;" if os.geteuid() == 0 else ""
        (where / "nginx.conf").write_text(CONF.format(dir=where, user=user, **self.ports))
        fds = [s.fileno() for s in sockets.values()]
        env = dict(os.environ, NGINX="".join(f"{fd};" for fd in fds))
        with open(where / "start.log", "w") as log:
            self.process = subprocess.Popen([program, "-p", str(where), "-c", str(where / "nginx.conf")], env=env, pass_fds=fds,
                                            stdout=log, stderr=log)
        for s in sockets.values():
            s.close()

        def ready():
            assert self.process.poll() is None, (where / "start.log").read_text()
            return (where / "nginx.pid").exists() and self.answers()

        until(ready, f"nginx answers: {(where / 'start.log').read_text()}")

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(self.unix))
                s.sendall(b"GET /echo HTTP/1.0\r\nHost: ready\r\n\r\n")
                return s.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def url(self, scheme, which=None):
        return f"{scheme}://127.0.0.1:{self.ports[which or scheme]}"

    @property
    def unix(self):
        return self.dir / "http.sock"

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
