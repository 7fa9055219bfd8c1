"""A program that knows nothing of Hourkey: what Python itself reads of its environment is all it gets.

    client.py URL FILE                   posts a file of JSON, prints the answer and its status
    client.py handshake HOST:PORT NAME   connects there, and says whether it is believed to be NAME
    client.py hold URL                   opens a connection through the proxy, says so, and waits for its end
    client.py upload URL                 sends a body slowly, until that ends
"""
import base64, os, socket, ssl, sys, time, urllib.error, urllib.parse, urllib.request


def post(url, file):
    request = urllib.request.Request(url, data=open(file, "rb").read(), headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            print(answer.read().decode(), answer.status)
    except urllib.error.HTTPError as answer:
        print(answer.read().decode(), answer.code)


def handshake(address, name):
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=60) as line:
            ssl.create_default_context().wrap_socket(line, server_hostname=name).close()
        print("believed")
    except ssl.SSLCertVerificationError as refused:
        print("refused:", refused)


def tunnel(url):
    proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    host = urllib.parse.urlsplit(url).hostname
    basic = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    line = socket.create_connection((proxy.hostname, proxy.port), timeout=60)
    line.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nProxy-Authorization: Basic {basic}\r\n\r\n".encode())
    if not line.recv(4096).startswith(b"HTTP/1.1 200"):
        sys.exit("no tunnel")
    line = ssl.create_default_context().wrap_socket(line, server_hostname=host)
    line.settimeout(None)  # whoever holds it waits until it is cut
    return host, line


def hold(url):
    _, line = tunnel(url)
    print("open", flush=True)
    try:
        print("said", line.recv(4096), flush=True)
    except OSError as end:
        print("cut", end, flush=True)


def upload(url):
    host, line = tunnel(url)
    path = urllib.parse.urlsplit(url).path
    line.sendall(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n".encode())
    try:
        for sent in range(900000):
            line.sendall(b" ")
            if sent == 20:
                print("on its way", flush=True)
            time.sleep(0.02)
    except OSError as end:
        print("cut", end, flush=True)
        sys.exit(1)


others = {"handshake": handshake, "hold": hold, "upload": upload}
others.get(sys.argv[1], lambda *rest: post(sys.argv[1], *rest))(*sys.argv[2:])
