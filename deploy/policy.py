#!/usr/bin/env python3
"""What no rendered manifest may do, whatever the schema allows: run as root, float its version, go without limits.

usage: policy.py FILE...   exit code 1: something was found
       policy.py --try     breaks each rule in turn, and fails unless that is found: a policy that is always kept is none
"""

import copy
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


def in_order():
    """Documents that keep the policy: what --try breaks."""
    container = {
        "name": "rosterd",
        "image": "registry.example.com/rosterd:1.2.3",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "livenessProbe": {},
        "readinessProbe": {},
        "startupProbe": {},
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [],
        "affinity": {"podAntiAffinity": {}},
    }
    deployment = {"kind": "Deployment", "metadata": {"name": "rosterd"}, "spec": {"replicas": 2, "template": {"spec": pod}}}
    return [deployment, *({"kind": kind, "metadata": {"name": "rosterd"}} for kind in ("NetworkPolicy", "PodDisruptionBudget"))]


def one_volume(replicas, strategy):
    """A breach: so many replicas over one volume."""

    def breach(documents):
        spec = documents[0]["spec"]
        spec.update(replicas=replicas, strategy={"type": strategy})
        spec["template"]["spec"]["volumes"] = [{"name": "state", "persistentVolumeClaim": {"claimName": "state"}}]

    return breach


def put(*path, value=None):
    """A breach: this value at this place below the pod, or nothing there."""

    def breach(documents):
        at = documents[0]["spec"]["template"]["spec"]
        for step in path[:-1]:
            at = at[step]
        if value is None:
            at.pop(path[-1])
        else:
            at[path[-1]] = value

    return breach


CONTAINER = ("containers", 0)
GUARDED = (*CONTAINER, "securityContext")

BREACHES = [
    ("runs as root, or may", put("securityContext", "runAsNonRoot")),
    ("runs as root, or may", put("securityContext", "runAsNonRoot", value=False)),
    ("has no user of its own", put("securityContext", "runAsUser")),
    ("has no user of its own", put("securityContext", "runAsUser", value=0)),
    ("has no seccomp profile", put("securityContext", "seccompProfile")),
    ("has no seccomp profile", put("securityContext", "seccompProfile", value={"type": "Unconfined"})),
    ("gets a token for the cluster", put("automountServiceAccountToken")),
    ("shares the node's namespace (hostNetwork)", put("hostNetwork", value=True)),
    ("shares the node's namespace (hostPID)", put("hostPID", value=True)),
    ("shares the node's namespace (hostIPC)", put("hostIPC", value=True)),
    ("mounts a path of the node", put("volumes", value=[{"name": "root", "hostPath": {"path": "/"}}])),
    ("may gain privileges", put(*GUARDED, "allowPrivilegeEscalation")),
    ("is privileged", put(*GUARDED, "privileged", value=True)),
    ("may write to its root", put(*GUARDED, "readOnlyRootFilesystem")),
    ("keeps capabilities", put(*GUARDED, "capabilities")),
    ("keeps capabilities", put(*GUARDED, "capabilities", value={"drop": ["ALL"], "add": ["NET_ADMIN"]})),
    ("has an image without a version", put(*CONTAINER, "image", value="registry.example.com:5000/rosterd")),
    ("has an image without a version", put(*CONTAINER, "image", value="rosterd:latest")),
    ("has no limits", put(*CONTAINER, "resources")),
    ("has no limits", put(*CONTAINER, "resources", "limits", "memory")),
    ("has no limits", put(*CONTAINER, "resources", "limits", "cpu")),
    ("has no livenessProbe", put(*CONTAINER, "livenessProbe")),
    ("has no readinessProbe", put(*CONTAINER, "readinessProbe")),
    ("has no startupProbe", put(*CONTAINER, "startupProbe")),
    ("mounts state by subPath", put(*CONTAINER, "volumeMounts", 0, "subPath", value="rosterd.toml")),
    ("container early, may gain privileges", put("initContainers", value=[{"name": "early"}])),
    ("lets two pods at one state file", one_volume(1, "RollingUpdate")),
    ("has several replicas and one volume", one_volume(2, "Recreate")),
    ("may have all its replicas on one node", put("affinity")),
    ("has several replicas and no PodDisruptionBudget", lambda documents: documents.pop(2)),
    ("there is no NetworkPolicy", lambda documents: documents.pop(1)),
    ("a Secret is in it", lambda documents: documents.append({"kind": "Secret", "metadata": {"name": "rosterd"}})),
    ("there is no pod in it", lambda documents: documents.pop(0)),
]


def try_out():
    wrong = [f"found where all is in order: {what}" for what in findings(in_order())]
    kept = in_order()
    one_volume(1, "Recreate")(kept)
    wrong += [f"found where all is in order: {what}" for what in findings(kept)]
    for expected, breach in BREACHES:
        documents = copy.deepcopy(in_order())
        breach(documents)
        if not any(expected in what for what in findings(documents)):
            wrong.append(f"not found: {expected}")
    print("\n".join(wrong) or f"{len(BREACHES)} breaches, each found")
    return 1 if wrong else 0


def main(files):
    if files == ["--try"]:
        return try_out()
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
