"""nginx as an origin."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

from .programs import requires_program
from .waiting import DEADLINE, wait_until

_CONFIGURATION = """
daemon off;
user {user};
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 100000;
    types {{ text/plain txt; application/octet-stream bin; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {directory}/root;
        location / {{ expires 10m; }}
        location /gzip/ {{ gzip on; gzip_types text/plain; gzip_proxied any; expires 10m; }}
        location /private/ {{ add_header Cache-Control no-store; }}
    }}
}}
"""


class Nginx:
    """Serves `root` under the directory; everything fresh for ten minutes but /private/."""

    def __init__(self, directory: Path) -> None:
        program, user = requires_program("nginx"), pwd.getpwuid(os.getuid()).pw_name
        self.root = directory / "root"
        for part in ("root/gzip", "root/private"):
            (directory / part).mkdir(parents=True)
        self._errors = directory / "error.log"
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = listener.getsockname()
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(directory=directory, user=user, port=self.address[1])
        )
        # nginx takes listening sockets over from the environment (as in its binary upgrade), so
        # that the port never has to be free in between.
        environment = {**os.environ, "NGINX": f"{listener.fileno()};"}
        with (directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-c", str(configuration), "-e", str(self._errors)],
                env=environment,
                pass_fds=(listener.fileno(),),
                stdout=output,
                stderr=output,
            )
        listener.close()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        wait_until(self._answers, "nginx to answer")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(DEADLINE)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._errors.read_text()
        with socket.create_connection(self.address, DEADLINE) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
