"""nginx with TLS in front of a site, from a throwaway CA."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.php_site import free_port, need, wait_for_port

CONFIG = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 64; }}
http {{
  access_log {directory}/access.log;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/{name}.pem; ssl_certificate_key {directory}/{name}.key;
    location / {{ proxy_pass {backend}; proxy_set_header Host $host; proxy_read_timeout {timeout}; }}
  }}
}}
"""


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificates(directory):
    """ca.pem, and what it signed: good, expired, and one for another name (NAME.pem, NAME.key)."""
    need("openssl")
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
             "-subj", "/CN=test CA", "-keyout", ca_key, "-out", ca)  # fmt: skip
    for name, address, days in (("good", "IP:127.0.0.1", 2), ("expired", "IP:127.0.0.1", -1),
                                ("other", "DNS:other.example", 2)):  # fmt: skip
        key, request = directory / f"{name}.key", directory / f"{name}.csr"
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 f"/CN={name}", "-keyout", key, "-out", request)  # fmt: skip
        extensions = directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={address}\n")
        # A negative number of days is an end before the beginning: expired all the same.
        _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-days", days, "-extfile",
                 extensions, "-out", directory / f"{name}.pem")  # fmt: skip
    return ca


@contextmanager
def nginx(directory, backend, name="good", timeout="60s"):
    """Serve `backend` (a URL) over TLS with that certificate. Yields the URL."""
    need("/usr/sbin/nginx", what="nginx")
    port = free_port()
    directory = Path(directory)
    config = directory / f"{name}.conf"
    text = CONFIG.format(directory=directory, port=port, name=name, backend=backend, timeout=timeout)
    config.write_text(text)
    with (directory / "nginx.out").open("ab") as out:
        process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(config), "-e", str(directory / "nginx.err")],
                                   stdout=out, stderr=out)  # fmt: skip
    try:
        wait_for_port(port, process)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
