#!/usr/bin/env python3
"""What no rendered manifest may do, whatever the schema allows: run as root, float its version, go without limits.

usage: policy.py FILE...   exit code 1: something was found
"""

import sys

import yaml


def pods(documents):
    """Each pod template with the name of what holds it."""
    for document in documents:
        template = document.get("spec", {}).get("template") if document["kind"] != "Pod" else document
        if template and "containers" in template.get("spec", {}):
            yield f"{document['kind']}/{document['metadata']['name']}", template["spec"]


def of_pod(pod):
    context = pod.get("securityContext", {})
    yield context.get("runAsNonRoot") is True, "runs as root, or may"
    yield context.get("runAsUser", 0) > 0, "has no user of its own"
    yield context.get("seccompProfile", {}).get("type") == "RuntimeDefault", "has no seccomp profile"
    yield pod.get("automountServiceAccountToken") is False, "gets a token for the cluster"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        yield not pod.get(key), f"shares the node's namespace ({key})"
    yield all("hostPath" not in volume for volume in pod.get("volumes", [])), "mounts a path of the node"


def of_container(container):
    context = container.get("securityContext", {})
    yield context.get("allowPrivilegeEscalation") is False, "may gain privileges"
    yield not context.get("privileged"), "is privileged"
    yield context.get("readOnlyRootFilesystem") is True, "may write to its root"
    yield context.get("capabilities", {}) == {"drop": ["ALL"]}, "keeps capabilities"
    tag = container.get("image", "").rpartition("/")[2].partition(":")[2]
    yield tag not in ("", "latest") or "@sha256:" in container.get("image", ""), "has an image without a version"
    limits = container.get("resources", {}).get("limits", {})
    yield {"cpu", "memory"} <= set(limits), "has no limits"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield probe in container, f"has no {probe}"
    for mount in container.get("volumeMounts", []):
        yield "subPath" not in mount, f"mounts {mount.get('name')} by subPath, which never changes"


def of_replicas(spec, kinds):
    volumes = spec["template"]["spec"].get("volumes", [])
    keeps = any("persistentVolumeClaim" in volume for volume in volumes)
    if spec.get("replicas", 1) == 1:
        yield not keeps or spec.get("strategy", {}).get("type") == "Recreate", "lets two pods at one state file while it is rolled out"
        return
    yield not keeps, "has several replicas and one volume: a state file has one daemon"
    yield "podAntiAffinity" in spec["template"]["spec"].get("affinity", {}), "may have all its replicas on one node"
    yield "PodDisruptionBudget" in kinds, "has several replicas and no PodDisruptionBudget"


def findings(documents):
    held = list(pods(documents))
    if not held:
        yield "there is no pod in it"
    for name, pod in held:
        yield from (f"{name} {what}" for good, what in of_pod(pod) if not good)
        for container in pod.get("initContainers", []) + pod["containers"]:
            at = f"{name}, container {container.get('name')},"
            yield from (f"{at} {what}" for good, what in of_container(container) if not good)
    kinds = {document["kind"] for document in documents}
    for document in documents:
        if document["kind"] == "Deployment":
            name = f"Deployment/{document['metadata']['name']}"
            yield from (f"{name} {what}" for good, what in of_replicas(document["spec"], kinds) if not good)
    if "NetworkPolicy" not in kinds:
        yield "there is no NetworkPolicy"
    if "Secret" in kinds:
        yield "a Secret is in it: secrets are never part of the manifests"


def main(files):
    found = False
    for file in files:
        with open(file, encoding="utf-8") as stream:
            documents = [document for document in yaml.safe_load_all(stream) if document]
        for what in findings(documents):
            print(f"{file}: {what}")
            found = True
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
