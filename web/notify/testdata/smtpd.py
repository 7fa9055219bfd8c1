"""A mail server for the tests: STARTTLS and AUTH, each required unless told otherwise.

smtpd.py CERT KEY [plain|early] prints its port, then one JSON line for each message that it took. With "plain" it
offers neither STARTTLS nor AUTH, with "early" TLS begins with the connection. It knows the user "hourkey" with the password "correct horse". Addresses that
begin with "refuse" do not exist; those that begin with "later" do at the second time of asking (greylisting).
It ends when its input does, with the test.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self):
        self.asked = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse"):
            return "550 5.1.1 no such user here, secret-of-the-server"
        if address.startswith("later") and address not in self.asked:
            self.asked.add(address)
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": base64.b64encode(envelope.content).decode(),
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "user": session.auth_data.login.decode() if session.authenticated else "",
            "helo": session.host_name,
        }), flush=True)
        return "250 OK"


def authenticator(server, session, envelope, mechanism, data):
    good = data.login == b"hourkey" and data.password == b"correct horse"
    return AuthResult(success=good, handled=False, auth_data=data)


async def main():
    certificate, key, *modes = sys.argv[1:]
    settings = {"hostname": "mail.test", "ident": "test", "enable_SMTPUTF8": False}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if "plain" not in modes:
        settings.update(authenticator=authenticator, auth_required=True, auth_require_tls="early" not in modes)
    if not modes:
        settings.update(tls_context=context, require_starttls=True)
    handler = Handler()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, loop=loop, **settings), "127.0.0.1", 0, ssl=context if "early" in modes else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_the_test():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_the_test, daemon=True).start()
asyncio.run(main())
