"""A worker in Python that needs nothing but the standard library: each job runs in a process of its own, which can be stopped."""

import json
import multiprocessing
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("JOBYARD_URL", "http://127.0.0.1:8080")
TOKEN = os.environ.get("JOBYARD_TOKEN")
TASK = "count-in-python"
LEASE_S = 15


def ask(method, path, body):
    """The answer's status and its JSON; raises `OSError` when nothing answers."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def work(payload, results):
    """Your work: it gets the payload and puts the result, or raises."""
    time.sleep(payload.get("seconds", 0))
    results.put({"by": "python"})


def run(lease):
    """Work on one job, and stop when its lease is lost or cancellation was requested."""
    job, token = f"/api/jobs/{lease['job_id']}", {"epoch": lease["epoch"]}
    results = multiprocessing.Queue()
    process = multiprocessing.Process(target=work, args=(lease["payload"], results))
    process.start()
    while process.join(LEASE_S / 3) is None and process.is_alive():
        try:
            status, told = ask("POST", job + "/extend", token | {"lease_s": LEASE_S})
        except OSError:
            continue  # try again before the lease ends
        if status == 409:
            process.terminate()
            print("lost the lease of", lease["job_id"], file=sys.stderr)
            return
        if told.get("cancel_requested"):
            process.terminate()
            ask("POST", job + "/fail", token | {"error": "stopped on request", "cancelled": True})
            return
    if process.exitcode == 0:
        ask("POST", job + "/complete", token | {"result": results.get()})
    else:
        ask("POST", job + "/fail", token | {"error": f"it ended with status {process.exitcode}"})


def main():
    ask("PUT", f"/api/tasks/{TASK}", {"timeout_s": 300})
    wanted = {"worker": f"python {os.getpid()}", "tasks": [TASK], "lease_s": LEASE_S, "wait_s": 30}
    while True:
        try:
            status, leases = ask("POST", "/api/leases", wanted)
        except OSError:
            status, leases = 503, []
        if status != 200:
            time.sleep(2)
            continue
        for lease in leases:
            run(lease)


if __name__ == "__main__":
    main()
