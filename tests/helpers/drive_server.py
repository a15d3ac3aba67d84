"""A web server that behaves like Google Drive, for one file; also a program:

python tests/helpers/drive_server.py FILE [BEHAVIOUR]   serves it until Ctrl-C, and prints where
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

FORM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="/download" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="x"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="8a&amp;b">
</form></body></html>"""
LINK = """<html><head><title>Google Drive - Virus scan warning</title></head><body>
<a id="uc-download-link" href="/uc?export=download&amp;confirm=AbCd&amp;id=x">Download anyway</a>
</body></html>"""
PAGES = {
    "quota": "<html><head><title>Google Drive - Quota exceeded</title></head><body><p>Sorry, you"
    " can't view or download this file at this time. Too many users have viewed or downloaded"
    " this file recently.</p></body></html>",
    "private": "<html><head><title>Google Drive: Sign-in</title></head><body>"
    '<a href="https://accounts.google.com/ServiceLogin">Sign in</a></body></html>',
    "other": "<html><head><title>Under\nmaintenance</title></head><body></body></html>",
    "elsewhere": '<html><a href="file:///etc/passwd?confirm=t">Download anyway</a></html>',
    "loop": FORM,
}


class DriveServer(ThreadingHTTPServer):
    """Serves `content` as `behaviour` says; `requests` are the (path, Range) that came.

    behaviour: "form" (redirect, page with a form, file), "link" (page with a link that needs a
    cookie), "plain" (the file at once), one of PAGES, a status such as 404, or both. cut_after:
    bytes after which the connection ends, once for each number. ranges: whether parts can be
    asked for. chunked: whether the length stays unsaid. unasked: where answers begin.
    """

    daemon_threads = True

    def __init__(self, content, behaviour="form", port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.content, self.behaviour = content, behaviour
        self.cut_after, self.requests = [], []
        self.ranges, self.etag, self.chunked, self.unasked = True, '"1"', False, 0
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.base}/uc?export=download&id=x"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, url = self.server, urlsplit(self.path)
        server.requests.append((self.path, self.headers.get("Range")))
        query = parse_qs(url.query)
        if isinstance(server.behaviour, tuple):
            status, page = server.behaviour
            self._page(PAGES[page], status)
        elif isinstance(server.behaviour, int):
            self._page("<html><title>Error</title></html>", server.behaviour)
        elif server.behaviour in PAGES:
            self._page(PAGES[server.behaviour])
        elif server.behaviour == "form" and url.path == "/uc":
            self.send_response(303)
            self.send_header("Location", f"/download?{url.query}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif server.behaviour == "form" and query.get("uuid") != ["8a&b"]:
            self._page(FORM)
        elif server.behaviour == "link" and "confirm" not in query:
            self._page(LINK, cookie="download_warning=AbCd")
        elif server.behaviour == "link" and "AbCd" not in self.headers.get("Cookie", ""):
            self._page(PAGES["other"])
        else:
            self._file()

    def _page(self, text, status=200, cookie=None):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if cookie:
            self.send_header("Set-Cookie", f"{cookie}; Path=/")
        self.end_headers()
        self.wfile.write(content)

    def _file(self):
        server, total = self.server, len(self.server.content)
        start = server.unasked
        if server.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if self.headers.get("If-Range", server.etag) != server.etag:
                start = 0
        if start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="SipMask_R18.pth"')
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        end = start + server.cut_after.pop(0) if server.cut_after else total
        sent = server.content[start:end]
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if server.chunked else sent)
        if server.chunked and end >= total:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = end < total


if __name__ == "__main__":
    server = DriveServer(Path(sys.argv[1]).read_bytes(), (sys.argv[2:] or ["form"])[0])
    print(server.url, flush=True)
    server.serve_forever()
