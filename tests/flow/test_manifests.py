"""conf/kubernetes and compose.yaml: right by their schemas, and right about andiron: its options, ports and paths."""

import fcntl
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BINARY, BOUND, ROOT, FlowTest, clean_environment, run_andiron

TESTS = pathlib.Path(ROOT, "tests", "manifests")
KUBERNETES = sorted(pathlib.Path(ROOT, "conf", "kubernetes").glob("*.yaml"))
COMPOSE = pathlib.Path(ROOT, "compose.yaml")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "MiB": 1 << 20, "Mi": 1 << 20, "GiB": 1 << 30, "Gi": 1 << 30}
USER = 65532
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def load(*paths):
    return [document for path in paths for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def number(text):
    """In seconds or bytes."""
    amount, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(amount) * UNITS[unit]


def named(items, name):
    return next(item for item in items if item["name"] == name)


def find(kind):
    return next(document for document in load(*KUBERNETES) if document["kind"] == kind)


class Pod:
    """A Deployment's pod, and the andiron in it."""

    def __init__(self, path):
        self.deployment = next(document for document in load(path) if document["kind"] == "Deployment")
        self.labels = self.deployment["spec"]["template"]["metadata"]["labels"]
        self.spec = self.deployment["spec"]["template"]["spec"]
        self.containers = self.spec.get("initContainers", []) + self.spec["containers"]
        self.andiron = named(self.containers, "andiron")
        self.ports = {port["name"]: port["containerPort"] for port in self.andiron["ports"]}

    def environment(self):
        """As kubelet makes it."""
        values = {}
        for variable in self.andiron["env"]:
            value = variable.get("value", "there" if "valueFrom" in variable else None)
            values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], value)
        return values

    def secret(self):
        """Its directory in the container, the volume's mode, the mounts' parents."""
        mount = self.andiron["volumeMounts"][0]
        volume = named(self.spec["volumes"], mount["name"])
        return mount["mountPath"], volume["secret"]["defaultMode"]


SIDECAR = Pod(pathlib.Path(ROOT, "conf", "kubernetes", "sidecar.yaml"))
SHARED = Pod(pathlib.Path(ROOT, "conf", "kubernetes", "shared.yaml"))
PODS = {"sidecar": SIDECAR, "shared": SHARED}


# --- schemas ----------------------------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def install_schemas():
    lock = TESTS / "package-lock.json"
    with open(TESTS / "package.json") as guard:     # two runs at once must not install at once
        fcntl.flock(guard, fcntl.LOCK_EX)
        done = TESTS / "node_modules" / ".package-lock.json"
        if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                           cwd=TESTS, check=True, stdout=subprocess.DEVNULL)


def judge(documents):
    """A list of faults for each."""
    install_schemas()
    done = subprocess.run(["node", str(TESTS / "validate.mjs")], input=json.dumps(documents), text=True,
                          capture_output=True, timeout=BOUND)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


@unittest.skipUnless(shutil.which("npm"), "needs npm")
class Schemas(unittest.TestCase):
    def test_all_documents_fit(self):
        documents = load(*KUBERNETES, COMPOSE)
        self.assertGreater(len(documents), 7)
        for document, faults in zip(documents, judge(documents)):
            with self.subTest(kind=document.get("kind", "compose")):
                self.assertEqual(faults, [])

    def test_the_judge_sees_mistakes(self):
        """A field that does not exist, a wrong type, a missing field: in each kind of document."""
        sidecar, monitor, compose = (load(path)[0] for path in
                                     (KUBERNETES[0].parent / "sidecar.yaml", KUBERNETES[0].parent / "pod-monitor.yaml",
                                      COMPOSE))
        sidecar["spec"]["template"]["spec"]["initContainers"][0]["readynessProbe"] = {}
        monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
        compose["services"]["andiron"]["cap_dropp"] = ["ALL"]
        without = find("HorizontalPodAutoscaler")
        del without["spec"]["maxReplicas"]
        wrong = find("Service")
        wrong["spec"]["ports"][0]["port"] = "8787"
        faults = judge([sidecar, monitor, compose, without, wrong])
        for words, found in zip(("readynessProbe", "intervall", "cap_dropp", "maxReplicas", "port"), faults):
            with self.subTest(words=words):
                self.assertIn(words, str(found))


# --- andiron's own ----------------------------------------------------------------------------

class Settings(FlowTest):
    def check(self, environment, directory):
        """`andiron check` with these variables, their files in our own folder."""
        moved = {name: value.replace(directory, self.folder) for name, value in environment.items()}
        done = run_andiron("check", env=moved)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.replace(self.folder, directory)

    def assert_in_force(self, checked, environment):
        """Each variable is an option, and its value has arrived."""
        for name, value in environment.items():
            if name.startswith("ANDIRON_"):
                self.assertRegex(checked, rf"(?m)= {re.escape(value)}$", name)

    def test_all_variables_are_options(self):
        for name, pod in PODS.items():
            with self.subTest(pod=name):
                directory, _ = pod.secret()
                for file in ("api-key", "client-token"):
                    self.write(file, "word\n")
                environment = pod.environment()
                self.assertGreater(len(environment), 3)
                self.assert_in_force(self.check(environment, directory), environment)

    def test_composes_too(self):
        environment = load(COMPOSE)[0]["services"]["andiron"]["environment"]
        for file in load(COMPOSE)[0]["secrets"]:
            self.write(file, "word\n")
        self.assert_in_force(self.check(environment, "/run/secrets"), environment)

    def test_the_pages_name_no_others(self):
        known = {"ANDIRON_CONFIG", "ANDIRON_USER"}      # the file; compose.yaml's own
        section = ""
        for line in run_andiron("check").stdout.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line:
                key = f"{section}_{line.split(' ')[0]}"
                known.add("ANDIRON_" + re.sub(r"\W", "_", key).upper())
        pages = [COMPOSE, *KUBERNETES, *(pathlib.Path(ROOT, "docs", name) for name in ("containers.md", "scaling.md"))]
        named_there = {name for page in pages for name in re.findall(r"\bANDIRON_\w+[A-Z]\b", page.read_text())}
        self.assertGreater(len(named_there), 6)
        self.assertEqual(named_there - known, {"ANDIRON_PORT"})     # a Service's, which is what it is named for

    def test_a_misspelt_one_would_be_seen(self):
        with self.assertRaisesRegex(AssertionError, "sets nothing"):
            self.check({"ANDIRON_SERVER_LISTENN": "127.0.0.1:1"}, "/run/secrets")

    def test_kubernetes_adds_no_variables_of_its_own(self):
        """A Service called andiron would: ANDIRON_PORT and more, which andiron warns of."""
        self.assertEqual([pod.spec.get("enableServiceLinks") for pod in PODS.values()], [False, False])

    def test_the_services_names_are_allowed(self):
        name = find("Service")["metadata"]["name"]
        self.assertEqual(SHARED.environment()["ANDIRON_SERVER_ALLOW_HOSTS"].split(),
                         [name, f"{name}.there", f"{name}.there.svc", f"{name}.there.svc.cluster.local"])
        compose = load(COMPOSE)[0]["services"]
        self.assertEqual(compose["andiron"]["environment"]["ANDIRON_SERVER_ALLOW_HOSTS"].split(), list(compose))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
    def test_a_secret_volume_can_be_read(self):
        """As kubelet makes it: root's, the group of fsGroup, which may read; a link to a link to the file."""
        os.chmod(self.folder, 0o711)
        for name, pod in PODS.items():
            with self.subTest(pod=name):
                folder, mode = pod.secret()
                self.assertEqual(pod.spec["securityContext"]["fsGroup"], USER)
                there = os.path.join(self.folder, name)
                os.makedirs(os.path.join(there, "..1"), 0o755)
                os.symlink("..1", os.path.join(there, "..data"))
                for file in ("api-key", "client-token"):
                    path = self.write(os.path.join(name, "..1", file), "word\n", mode | 0o440)
                    os.chown(path, 0, USER)
                    os.symlink(os.path.join("..data", file), os.path.join(there, file))
                environment = {key: value.replace(folder, there) for key, value in pod.environment().items()}
                self.assertEqual(self.check_as_user(environment), (0, ""))
                os.chmod(os.path.join(there, "api-key"), 0o444)     # what defaultMode is without a word
                code, said = self.check_as_user(environment)
                self.assertEqual(code, 1)
                self.assertIn("can be read by others (mode 0444)", said)

    def check_as_user(self, environment):
        here = shutil.copy(BINARY, self.folder)     # the build directory need not be open to everyone
        done = subprocess.run([*AS_USER, here, "check"], env=clean_environment(environment), text=True,
                              capture_output=True, timeout=BOUND)
        return done.returncode, done.stderr


class Ports(FlowTest):
    def test_they_agree(self):
        for name, pod in PODS.items():
            with self.subTest(pod=name):
                environment = pod.environment()
                self.assertEqual(environment["ANDIRON_SERVER_ADMIN"], f"0.0.0.0:{pod.ports['andiron-admin']}")
                listen = environment.get("ANDIRON_SERVER_LISTEN", "0.0.0.0:8787")
                self.assertEqual(listen, f"0.0.0.0:{pod.ports.get('andiron', 8787)}")
        port = find("Service")["spec"]["ports"][0]
        self.assertEqual(SHARED.ports[port["targetPort"]], port["port"])
        rules = find("NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([rule["ports"][0]["port"] for rule in rules], list(SHARED.ports))
        self.assertIn(find("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"], SHARED.ports)
        for variable in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
            url = named(named(SIDECAR.containers, "application")["env"], variable)["value"]
            self.assertTrue(url.startswith("http://localhost:8787"), url)
        service = load(COMPOSE)[0]["services"]["andiron"]
        self.assertEqual(service["ports"], ["127.0.0.1:8787:8787"])

    def test_labels_select_the_pods(self):
        shared = [find("Service")["spec"]["selector"], SHARED.deployment["spec"]["selector"]["matchLabels"],
                  find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                  find("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
        for labels in shared:
            self.assertLessEqual(labels.items(), SHARED.labels.items())
        for pod in PODS.values():
            self.assertLessEqual(find("PodMonitor")["spec"]["selector"]["matchLabels"].items(), pod.labels.items())
        self.assertEqual(find("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"],
                         SHARED.deployment["metadata"]["name"])

    def test_what_is_asked_answers_beyond_loopback_without_a_token(self):
        """As kubelet and Prometheus ask: with the pod's address as Host."""
        probes = [pod.andiron[kind] for pod in PODS.values()
                  for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
        paths = {probe["httpGet"]["path"] for probe in probes}
        self.assertEqual({probe["httpGet"]["port"] for probe in probes}, {"andiron-admin"})
        paths.add(find("PodMonitor")["spec"]["podMetricsEndpoints"][0]["path"])
        self.launch_admin(config={"server": {"admin": "0.0.0.0:0"}})
        port = self.admin_address[1]
        self.admin_address = ("127.0.0.2", port)
        for path in sorted(paths):
            self.assert_status(self.ask_admin(path, [("Host", f"127.0.0.2:{port}")]), 200)
        metric = find("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
        self.assertRegex(self.ask_admin("/metrics").body.decode(), rf"(?m)^{metric}\{{.*\}} 0$")
        self.assert_status(self.ask_admin("/status"), 401)


class Sizes(unittest.TestCase):
    def test_the_grace_period_covers_the_drain(self):
        for name, pod in PODS.items():
            with self.subTest(pod=name):
                wait = pod.andiron.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                drain = number(pod.environment()["ANDIRON_SERVER_DRAIN_TIMEOUT"])
                self.assertGreaterEqual(pod.spec["terminationGracePeriodSeconds"], wait + drain + 5)
        service = load(COMPOSE)[0]["services"]["andiron"]
        self.assertGreaterEqual(number(service["stop_grace_period"]),
                                number(service["environment"]["ANDIRON_SERVER_DRAIN_TIMEOUT"]) + 5)

    def test_the_memory_limit_is_above_max_memory(self):
        for name, pod in PODS.items():
            with self.subTest(pod=name):
                self.assertGreaterEqual(number(pod.andiron["resources"]["limits"]["memory"]),
                                        1.5 * number(pod.environment()["ANDIRON_SERVER_MAX_MEMORY"]))

    def test_replicas_are_added_before_max_in_flight(self):
        target = find("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]
        limit = re.search(r"max_in_flight = (\d+)", re.sub(" +", " ", run_andiron("check").stdout))[1]
        self.assertLess(int(target["averageValue"]), int(limit) / 2)

    def test_the_pods_are_restricted(self):
        """By the rules that Kubernetes calls so; and without a shell, nothing need be written."""
        for name, pod in PODS.items():
            whole = pod.spec["securityContext"]
            self.assertEqual((whole["runAsNonRoot"], whole["seccompProfile"]["type"]), (True, "RuntimeDefault"))
            for container in pod.containers:
                with self.subTest(pod=name, container=container["name"]):
                    own = container["securityContext"]
                    self.assertIs(own["allowPrivilegeEscalation"], False)
                    self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
            self.assertIs(pod.andiron["securityContext"]["readOnlyRootFilesystem"], True)
            self.assertEqual(pod.andiron["securityContext"].get("runAsUser", whole.get("runAsUser")), USER)
        self.assertEqual(SIDECAR.andiron["restartPolicy"], "Always")


if __name__ == "__main__":
    unittest.main()
