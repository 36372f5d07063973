"""Asks addresses from the network that it is started in.

usage: inside.py JSON, a list of [address, token or null]; prints a list of status codes
"""

import json
import ssl
import sys
import urllib.error
import urllib.request

TRUST_ANYBODY = ssl._create_unverified_context()


def ask(address, token):
    headers = {"Authorization": "Bearer " + token} if token else {}
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=TRUST_ANYBODY)]
    opener = urllib.request.build_opener(*handlers)
    try:
        return opener.open(urllib.request.Request(address, headers=headers), timeout=10).status
    except urllib.error.HTTPError as refused:
        return refused.code


print(json.dumps([ask(address, token) for address, token in json.loads(sys.argv[1])]))
