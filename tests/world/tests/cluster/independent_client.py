"""A Kubernetes client that knows nothing of this project makes an object, follows it to Ready, and deletes it.

usage: independent_client.py create|delete KUBECONFIG NAMESPACE NAME

`create` prints a line for each reason that Ready has on its way. `delete` prints what is left of the object, a line each.
"""

import sys
import time

from kubernetes import client, config, watch

GROUP, VERSION, PLURAL = "bridges.meldry.com", "v1alpha1", "dingtalkbridges"
LIMIT = 300


def ready(thing):
    conditions = thing.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Ready"), None)


def create(objects, namespace, name):
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DingTalkBridge",
        "metadata": {"name": name},
        "spec": {"workspace": name},
    }
    made = objects.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body)
    generation, told = made["metadata"]["generation"], None
    events = watch.Watch().stream(
        objects.list_namespaced_custom_object,
        GROUP,
        VERSION,
        namespace,
        PLURAL,
        field_selector=f"metadata.name={name}",
        resource_version=made["metadata"]["resourceVersion"],
        timeout_seconds=LIMIT,
    )
    for event in events:
        condition = ready(event["object"])
        if condition is None or condition["observedGeneration"] != generation:
            continue
        if condition["reason"] != told:
            told = condition["reason"]
            print(told, flush=True)
        if condition["status"] == "True":
            print(event["object"]["status"]["webhookURL"], flush=True)
            return
    sys.exit(f"{name} is not Ready after {LIMIT} s: {told}")


def left(namespace, name):
    core, apps, net = client.CoreV1Api(), client.AppsV1Api(), client.NetworkingV1Api()
    lists = [
        core.list_namespaced_secret,
        core.list_namespaced_config_map,
        core.list_namespaced_service_account,
        core.list_namespaced_service,
        core.list_namespaced_persistent_volume_claim,
        core.list_namespaced_pod,
        apps.list_namespaced_deployment,
        apps.list_namespaced_replica_set,
        net.list_namespaced_ingress,
        net.list_namespaced_network_policy,
    ]
    selector = f"app.kubernetes.io/instance={name}"
    return sorted(
        f"{listing.__name__.removeprefix('list_namespaced_')}/{item.metadata.name}"
        for listing in lists
        for item in listing(namespace, label_selector=selector).items
    )


def delete(objects, namespace, name, kept):
    objects.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        listed = objects.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)
        remains = left(namespace, name)
        if not listed["items"] and len(remains) <= kept:
            break
        time.sleep(0.2)
    print("\n".join(remains))


def main():
    what, kubeconfig, namespace, name = sys.argv[1:]
    config.load_kube_config(kubeconfig)
    objects = client.CustomObjectsApi()
    if what == "create":
        create(objects, namespace, name)
    else:
        # The claim with the user's data, and the key that opens it.
        delete(objects, namespace, name, kept=2)


main()
