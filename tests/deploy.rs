//! What is shipped beside the binary fits it: the unit, the package, the image, the manifests. Read as files; what judges them in
//! earnest is `deploy/check.sh`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rosterd::cli::exit::Exit;
use rosterd::config::daemon::{DEFAULT_STATE, Right};
use rosterd::config::job::Mode;
use rosterd::config::{Checked, Config, ConfigError, Layers, check, locate};
use rosterd::daemon::assemble::checks;
use rosterd::http::kind::Kit;
use rosterd::http::secret::Secrets;
use serde_json::Value;

/// Where the package, and so the unit, have the secrets.
const CREDENTIALS: &str = "/etc/rosterd/credentials";

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn text(of: &str) -> String {
    std::fs::read_to_string(path(of)).unwrap_or_else(|e| panic!("{of}: {e}"))
}

fn yaml(of: &str) -> Value {
    serde_saphyr::from_str(&text(of)).unwrap_or_else(|e| panic!("{of}: {e}"))
}

/// The keys of a unit with their values, in order.
fn unit() -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text("systemd/rosterd.service").lines().filter(|l| !l.is_empty() && !l.starts_with(['#', '['])) {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("not a key: {line}"));
        keys.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    keys
}

fn only<'a>(unit: &'a BTreeMap<String, Vec<String>>, key: &str) -> &'a str {
    match unit.get(key).map(Vec::as_slice) {
        Some([value]) => value,
        other => panic!("{key} is there once: {other:?}"),
    }
}

fn span(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The credentials that a configuration names, also in its comments.
fn named(text: &str) -> BTreeSet<String> {
    let names = text.split("credential = \"").skip(1).filter_map(|rest| rest.split('"').next());
    names.map(str::to_owned).collect()
}

/// Loads a configuration as the daemon would, with every credential there that it names.
fn load(text: &str) -> Result<Checked, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    for name in named(text) {
        std::fs::write(folder.path().join(name), "https://hooks.example.com/T0/B0\n").expect("written");
    }
    let env = BTreeMap::from([("CREDENTIALS_DIRECTORY".to_owned(), folder.path().display().to_string())]);
    let kit = Kit { secrets: Secrets::with_env(env), meters: Default::default(), latches: Default::default() };
    check(&Layers::from_texts(&[("rosterd.toml", text)], &[])?, &checks(&kit))
}

fn loaded(text: &str) -> Config {
    let Checked { config, warnings } = load(text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

/// A file with the first mark of every comment taken out that is one key or one header.
fn opened(text: &str) -> String {
    let setting = |rest: &str| rest.starts_with(['[', '#']) || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let open = |line: &str| line.strip_prefix("# ").filter(|rest| setting(rest)).unwrap_or(line).to_owned();
    text.lines().map(open).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_secret_that_an_example_names_is_handed_over_by_the_unit_and_none_keeps_it_from_starting() {
    let unit = unit();
    let pairs = |key: &str| -> BTreeMap<String, String> {
        unit[key].iter().filter_map(|v| v.split_once(':')).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (loads, stand_ins) = (pairs("LoadCredential"), pairs("SetCredential"));
    for (name, file) in &loads {
        assert_eq!(*file, format!("{CREDENTIALS}/{name}"));
        // Without one, a file that is not there is the end of the start.
        assert_eq!(stand_ins.get(name).map(String::as_str), Some("\\n"), "{name}");
    }
    assert_eq!(loads.len(), stand_ins.len());
    for example in ["examples/minimal.toml", "examples/full.toml", "deploy/rosterd.toml", "deploy/kubernetes/base/rosterd.toml"] {
        for name in named(&text(example)) {
            assert!(loads.contains_key(&name), "{example} names the credential {name}, which the unit does not load");
        }
    }
}

#[test]
fn the_unit_speaks_of_the_places_codes_and_times_that_the_daemon_has() {
    let unit = unit();
    assert_eq!((only(&unit, "Type"), only(&unit, "ExecReload")), ("notify", "/bin/kill -HUP $MAINPID"));
    let state = DEFAULT_STATE.strip_prefix("sqlite:").expect("a file");
    assert!(Path::new(state).starts_with(Path::new("/var/lib").join(only(&unit, "StateDirectory"))));
    let file = Path::new("/etc").join(only(&unit, "ConfigurationDirectory")).join("rosterd.toml");
    assert!(locate::PLACES.map(PathBuf::from).contains(&file));
    assert_eq!(only(&unit, "ExecStart"), format!("/usr/bin/rosterd run --config {}", file.display()));
    let hopeless = [Exit::Usage, Exit::Permission, Exit::Configuration].map(|exit| exit.code().to_string());
    assert_eq!(only(&unit, "RestartPreventExitStatus").split(' ').collect::<Vec<_>>(), hopeless);
    assert_eq!(only(&unit, "Restart"), "on-failure");
    let drain = loaded(&opened(&text("deploy/rosterd.toml"))).daemon.drain;
    assert!(span(only(&unit, "TimeoutStopSec")) >= drain + Duration::from_secs(15), "the last messages take their time too");
    assert!(span(only(&unit, "WatchdogSec")) >= Duration::from_secs(30));
}

#[test]
fn a_fresh_package_starts_nothing_and_its_file_is_good_once_opened() {
    let shipped = text("deploy/rosterd.toml");
    assert!(shipped.lines().all(|line| line.is_empty() || line.starts_with('#')), "nothing is in force");
    let refused = load(&shipped).expect_err("without a job it does not start").render(false);
    assert!(refused.contains("there is no job"), "{refused}");
    let config = loaded(&opened(&shipped));
    assert_eq!((config.targets.len(), config.notify.len()), (3, 1));
    assert_eq!(config.jobs["staff"].mode, Mode::Observe);
    // What is an alternative stays a comment of its own, and is good in the place of the other.
    let service_app = opened(&shipped).replace("api_token = ", "# api_token = ").replace("# oauth = ", "oauth = ");
    assert!(service_app.contains("\noauth = "));
    let refused = load(&service_app).expect_err("the key is no key").render(false);
    assert!(refused.contains("private_key") && !refused.contains("unknown"), "{refused}");
}

#[test]
fn the_package_holds_what_it_names() {
    let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("a list");
    let column = |n: usize| assets.iter().map(move |row| row[n].as_str().expect("text")).collect::<Vec<_>>();
    for source in column(0).into_iter().filter(|source| !source.starts_with("target/")) {
        let folder = path(source.split('*').next().expect("a beginning"));
        assert!(folder.exists(), "{source}");
    }
    let places = column(1);
    for file in deb["conf-files"].as_array().expect("a list") {
        let file = file.as_str().expect("text");
        assert!(places.iter().any(|place| format!("/{place}") == file), "{file}");
        assert!(locate::PLACES.contains(&file), "{file}");
    }
    assert!(places.contains(&"usr/bin/rosterd"));
    let units = &deb["systemd-units"];
    assert_eq!((units["enable"].as_bool(), units["start"].as_bool()), (Some(false), Some(false)));
    assert!(text("deploy/debian/postinst").contains(CREDENTIALS));
}

#[test]
fn the_image_holds_nothing_but_the_binary_and_runs_it_as_nobody_else() {
    let dockerfile = text("deploy/Dockerfile");
    let last = dockerfile.rfind("\nFROM ").map(|at| &dockerfile[at + 1..]).expect("a stage");
    assert!(last.starts_with("FROM scratch\n"), "{last}");
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(text("deploy/image/passwd").starts_with(&format!("rosterd:x:{user}:")), "{user}");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "by number, and not root: {user}");
    let state = DEFAULT_STATE.strip_prefix("sqlite:").and_then(|file| Path::new(file).parent()).expect("a folder");
    assert!(last.contains(&format!("\nWORKDIR {}\n", state.display())));
    let pod = &yaml("deploy/kubernetes/base/deployment.yaml")["spec"]["template"]["spec"]["securityContext"];
    assert_eq!(format!("{}:{}", pod["runAsUser"], pod["runAsGroup"]), user);
}

#[test]
fn the_manifests_fit_the_daemon() {
    let config_text = text("deploy/kubernetes/base/rosterd.toml");
    let config = loaded(&config_text);
    assert_eq!(config.jobs["staff"].mode, Mode::Observe);
    assert!(config.daemon.watch.is_some(), "a changed ConfigMap is noticed");
    let spec = yaml("deploy/kubernetes/base/deployment.yaml")["spec"]["template"]["spec"].clone();
    let grace = spec["terminationGracePeriodSeconds"].as_u64().map(Duration::from_secs).expect("seconds");
    assert!(grace >= config.daemon.drain + Duration::from_secs(15));

    let container = &spec["containers"][0];
    let port = u64::from(config.daemon.listen.expect("it listens").port());
    assert_eq!(container["ports"][0]["containerPort"], port);
    assert_eq!(yaml("deploy/kubernetes/base/service.yaml")["spec"]["ports"][0]["port"], port);
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
    }
    for (what, good) in [
        ("limits", container["resources"]["limits"]["memory"].is_string() && container["resources"]["limits"]["cpu"].is_string()),
        ("a read-only root", container["securityContext"]["readOnlyRootFilesystem"] == true),
        ("no more privileges", container["securityContext"]["allowPrivilegeEscalation"] == false),
        ("no capabilities", container["securityContext"]["capabilities"]["drop"][0] == "ALL"),
        ("not root", spec["securityContext"]["runAsNonRoot"] == true),
        ("seccomp", spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"),
        ("no token", spec["automountServiceAccountToken"] == false),
    ] {
        assert!(good, "{what}");
    }

    let mounts = |container: &Value| -> BTreeMap<String, String> {
        let mounts = container["volumeMounts"].as_array().expect("a list").iter();
        mounts
            .map(|m| (m["name"].as_str().expect("text").to_owned(), m["mountPath"].as_str().expect("text").to_owned()))
            .collect()
    };
    let base = mounts(container);
    assert_eq!(container["env"][0]["name"], "CREDENTIALS_DIRECTORY");
    assert_eq!(container["env"][0]["value"], base["credentials"]);
    assert_eq!(container["args"][2], format!("{}/rosterd.toml", base["config"]));
    let overlay = yaml("deploy/kubernetes/overlays/sqlite/deployment.yaml")["spec"].clone();
    assert_eq!((&overlay["replicas"], &overlay["strategy"]["type"]), (&Value::from(1), &Value::from("Recreate")));
    let state = &mounts(&overlay["template"]["spec"]["containers"][0])["state"];
    assert!(config.daemon.state.starts_with(&format!("sqlite:{state}/")), "{}", config.daemon.state);
    let claim = &yaml("deploy/kubernetes/overlays/sqlite/volume.yaml")["metadata"]["name"];
    assert_eq!(&overlay["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], claim);

    // The manual makes the Secret with each key that the file names.
    let manual = text("README.md");
    for name in named(&config_text) {
        assert!(manual.contains(&format!("--from-file={name}")), "README.md makes no secret {name}");
    }
}

#[test]
fn the_replicas_share_a_database_and_nothing_else() {
    let folder = "deploy/kubernetes/overlays/postgres";
    let spec = yaml(&format!("{folder}/deployment.yaml"))["spec"].clone();
    assert!(spec["replicas"].as_u64().is_some_and(|replicas| replicas >= 2));
    assert_eq!(spec["strategy"]["type"], "RollingUpdate");
    let pod = &spec["template"]["spec"];
    assert!(pod["volumes"].is_null(), "no volume is theirs");
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["topologyKey"], "kubernetes.io/hostname");
    let labels = &yaml("deploy/kubernetes/base/kustomization.yaml")["labels"][0]["pairs"];
    let budget = yaml(&format!("{folder}/disruption.yaml"));
    let policy = yaml(&format!("{folder}/networkpolicy.yaml"));
    for selector in [&apart["labelSelector"], &budget["spec"]["selector"], &policy["spec"]["podSelector"]] {
        assert_eq!(&selector["matchLabels"], labels);
    }
    assert_eq!(budget["spec"]["minAvailable"], 1);

    // What the pods are told in the place of the file's keys is what the daemon understands, and holds no password.
    let env: Vec<(String, String)> = pod["containers"][0]["env"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["name"].as_str().expect("text").to_owned(), entry["value"].as_str().expect("text").to_owned()))
        .collect();
    let file = text("deploy/kubernetes/base/rosterd.toml");
    let folder = tempfile::tempdir().expect("a folder");
    for name in named(&file).into_iter().chain(["state-password".to_owned()]) {
        std::fs::write(folder.path().join(name), "secret\n").expect("written");
    }
    let credentials = BTreeMap::from([("CREDENTIALS_DIRECTORY".to_owned(), folder.path().display().to_string())]);
    let kit = Kit { secrets: Secrets::with_env(credentials), meters: Default::default(), latches: Default::default() };
    let layers = Layers::from_texts(&[("rosterd.toml", &file)], &env).expect("layers");
    let Checked { config, warnings } = check(&layers, &checks(&kit)).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(config.daemon.state.contains("sslmode=verify-full") && config.daemon.state_password.is_some());
    let state = url::Url::parse(&config.daemon.state).expect("an address");
    assert_eq!(policy["spec"]["egress"][0]["ports"][0]["port"], state.port().unwrap_or(5432));
    let mounts =
        yaml("deploy/kubernetes/base/deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].clone();
    let secrets = mounts.as_array().expect("a list").iter().find(|m| m["name"] == "credentials").expect("a mount");
    assert!(config.daemon.state.contains(secrets["mountPath"].as_str().expect("a path")));
    let manual = text("README.md");
    for name in ["state-password", "state-ca"] {
        assert!(manual.contains(&format!("--from-file={name}")), "README.md makes no secret {name}");
    }
}

#[test]
fn the_state_is_copied_from_the_one_overlay_s_volume_to_the_other_s_database() {
    let job = yaml("deploy/kubernetes/copy/job.yaml")["spec"]["template"]["spec"].clone();
    let of = |file: &str| yaml(&format!("deploy/kubernetes/{file}"))["spec"]["template"]["spec"].clone();
    let (base, sqlite, postgres) =
        (of("base/deployment.yaml"), of("overlays/sqlite/deployment.yaml"), of("overlays/postgres/deployment.yaml"));
    let args = &job["containers"][0]["args"];
    let config = loaded(&text("deploy/kubernetes/base/rosterd.toml"));
    assert_eq!((&args[0], &args[1], &args[2]), (&"state".into(), &"copy".into(), &Value::from(config.daemon.state)));
    let env = postgres["containers"][0]["env"].as_array().expect("a list").clone();
    assert_eq!(env[0]["name"], "ROSTERD__DAEMON__STATE");
    assert_eq!(args[3], env[0]["value"]);
    assert_eq!(job["containers"][0]["env"][1], env[1], "the password of the database");
    assert_eq!(job["containers"][0]["env"][0], base["containers"][0]["env"][0]);
    let all = |key: &str| -> Vec<Value> {
        let of = |spec: &Value| if key == "volumes" { spec[key].clone() } else { spec["containers"][0][key].clone() };
        [of(&sqlite), of(&base)].iter().flat_map(|list| list.as_array().expect("a list").clone()).collect()
    };
    for key in ["volumes", "volumeMounts"] {
        let of_job = if key == "volumes" { &job[key] } else { &job["containers"][0][key] };
        assert_eq!(of_job, &Value::from(all(key)), "{key}");
    }
    assert_eq!(job["securityContext"], base["securityContext"]);
    assert_eq!(job["containers"][0]["securityContext"], base["containers"][0]["securityContext"]);
}

#[test]
fn what_kustomize_names_is_there_and_the_image_is_of_this_version() {
    let mut found = 0;
    for folder in ["base", "copy", "overlays/sqlite", "overlays/postgres"].map(|name| format!("deploy/kubernetes/{name}")) {
        let kustomization = yaml(&format!("{folder}/kustomization.yaml"));
        let list = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
        let resources = list("resources").into_iter().chain(list("patches").into_iter().map(|p| p["path"].clone()));
        for resource in resources {
            let file = format!("{folder}/{}", resource.as_str().expect("text"));
            assert!(path(&file).exists(), "{file}");
            if file.ends_with(".yaml") {
                let resource = yaml(&file);
                assert!(resource["kind"].is_string() && resource["metadata"]["name"].is_string(), "{file}");
            }
        }
        for image in list("images") {
            assert_eq!((&image["name"], &image["newTag"]), (&"rosterd".into(), &env!("CARGO_PKG_VERSION").into()));
            found += 1;
        }
    }
    assert_eq!(found, 2);
}

#[test]
fn the_operator_alerts_as_the_plain_rules_do_and_each_alert_is_tested_and_says_what_to_do() {
    let plain = yaml("deploy/monitoring/rules.yaml");
    let of_operator = yaml("deploy/kubernetes/components/monitoring/prometheusrule.yaml");
    assert_eq!(of_operator["spec"], plain);
    let tests = text("deploy/monitoring/rules_test.yaml");
    let rules = plain["groups"][0]["rules"].as_array().expect("a list");
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().expect("text");
        assert!(names.insert(name), "{name} is there twice");
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")) || tests.contains(&format!("alertname: {name}")),
            "{name} is not tested"
        );
        for said in ["summary", "description", "runbook"] {
            assert!(rule["annotations"][said].as_str().is_some_and(|text| text.len() > 10), "{name} has no {said}");
        }
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().expect("text")), "{name}");
        // What it says to run is a command.
        let runbook = rule["annotations"]["runbook"].as_str().expect("text");
        for command in runbook.split("`rosterd ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(text("README.md").contains(&format!("`{command}")), "{name}: there is no command {command}");
        }
    }
    assert!(names.len() >= 10);
}

#[test]
fn the_operator_scrapes_the_service_by_its_port_and_the_token_of_the_configuration() {
    let monitor = yaml("deploy/kubernetes/components/monitoring/servicemonitor.yaml");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], yaml("deploy/kubernetes/base/service.yaml")["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["path"], "/metrics");
    let secret = &endpoint["authorization"]["credentials"];
    let pod = yaml("deploy/kubernetes/base/deployment.yaml")["spec"]["template"]["spec"].clone();
    let mounted =
        pod["volumes"].as_array().expect("a list").iter().any(|volume| volume["secret"]["secretName"] == secret["name"]);
    assert!(mounted, "{secret}");
    // Whoever reads Prometheus's secrets must not learn who is in which group, nor what waits.
    let config = loaded(&text("deploy/kubernetes/base/rosterd.toml"));
    let (_, token) = config
        .daemon
        .tokens
        .iter()
        .find(|(_, token)| token.secret.credential.as_deref() == secret["key"].as_str())
        .expect("a token is at that key");
    assert_eq!(token.may, Right::Metrics);
    let pairs = &yaml("deploy/kubernetes/base/kustomization.yaml")["labels"][0]["pairs"];
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], pairs);
    let component = yaml("deploy/kubernetes/components/monitoring/kustomization.yaml");
    for resource in component["resources"].as_array().expect("a list") {
        let file = format!("deploy/kubernetes/components/monitoring/{}", resource.as_str().expect("text"));
        assert!(yaml(&file)["kind"].is_string(), "{file}");
    }
}
