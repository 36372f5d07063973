//! Rendering by Helm, and looking into what came out.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use serde_json::Value;

/// The operator's chart.
pub(crate) const OPERATOR: &str = "charts/dingtalk-operator";
/// The chart of the definitions.
pub(crate) const CRDS: &str = "charts/dingtalk-operator-crds";
/// The namespace of every release here.
pub(crate) const NAMESPACE: &str = "bridges";
/// The oldest Kubernetes of the promise.
const OLDEST: &str = "1.33.0";
/// What must be set; the rest has defaults.
pub(crate) const LEAST: &str = "images: {registry: registry.example.com/dingtalk}\n";

/// The program. Nothing without Go, of which it is built; what else goes wrong is a failure.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match runtime.block_on(cluster::Programs::helm_alone(&|line| println!("{line}"))) {
            Ok(program) => Some(program),
            Err(error) => match error.downcast_ref::<cluster::Unfit>() {
                Some(unfit @ cluster::Unfit::NoGo { .. }) => {
                    println!("skipped: Helm is needed to render charts, and it is built; {unfit}");
                    None
                }
                _ => panic!("{error:#}"),
            },
        }
    });
    PROGRAM.as_deref()
}

/// Runs Helm apart from what its user has set up.
fn helm(words: &[&str]) -> Option<Output> {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program()?);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, home.path());
    }
    Some(command.args(words).env_remove("KUBECONFIG").current_dir(charts_test::root()).output().unwrap())
}

/// Renders a chart as the release `name` with a text of values. The error is what Helm said.
pub(crate) fn render_as(name: &str, chart: &str, values: &str) -> Option<Result<Vec<Object>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let file = file.to_str().unwrap();
    template(&["template", name, chart, "--namespace", NAMESPACE, "--kube-version", OLDEST, "--values", file])
}

/// What a command `helm template …` renders.
pub(crate) fn template(words: &[&str]) -> Option<Result<Vec<Object>, String>> {
    let output = helm(words)?;
    if !output.status.success() {
        return Some(Err(String::from_utf8(output.stderr).unwrap()));
    }
    Some(Ok(objects(&String::from_utf8(output.stdout).unwrap())))
}

/// Renders the operator's chart; it must succeed.
pub(crate) fn render(values: &str) -> Option<Vec<Object>> {
    Some(render_as("dingtalk-operator", OPERATOR, values)?.unwrap_or_else(|said| panic!("{values}\n{said}")))
}

/// What Helm says to values that it must refuse.
pub(crate) fn refusal(values: &str) -> Option<String> {
    match render_as("dingtalk-operator", OPERATOR, values)? {
        Ok(_) => panic!("accepted: {values}"),
        Err(said) => Some(said),
    }
}

/// `helm lint --strict`, with what it said as the error.
pub(crate) fn lint(chart: &str, values: &Path) -> Option<Result<(), String>> {
    let values = values.to_str().unwrap();
    let output = helm(&["lint", "--strict", chart, "--kube-version", OLDEST, "--values", values])?;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}

/// The values files of the operator's chart.
pub(crate) fn values_files() -> Vec<PathBuf> {
    let folder = charts_test::root().join(OPERATOR).join("ci");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    files
}

/// Everything that the operator's chart renders with each values file, rendered once.
pub(crate) fn rendered() -> &'static [Object] {
    static RENDERED: LazyLock<Vec<Object>> = LazyLock::new(|| {
        let render = |file: &PathBuf| {
            let mut objects = render(&std::fs::read_to_string(file).unwrap())?;
            for object in &mut objects {
                object.file = file.file_name().unwrap().to_string_lossy().into_owned();
            }
            Some(objects)
        };
        values_files().iter().filter_map(render).flatten().collect()
    });
    &RENDERED
}

/// The objects of rendered manifests.
pub(crate) fn objects(text: &str) -> Vec<Object> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    documents
        .into_iter()
        .filter(|value| !value.is_null())
        .map(|value| Object { value, file: String::new() })
        .collect()
}

/// A rendered object.
pub(crate) struct Object {
    value: Value,
    /// The values file it was rendered with.
    pub(crate) file: String,
}

impl Object {
    /// What stands at a path such as `/metadata/name`; null where there is nothing.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a path; empty where there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The pod template, if it has one.
    pub(crate) fn pod(&self) -> Option<&Value> {
        self.value.pointer("/spec/template")
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind(), self.text("/metadata/namespace"), self.text("/metadata/name"))?;
        if self.file.is_empty() { Ok(()) } else { write!(f, " with {}", self.file) }
    }
}

/// The only object of a kind.
pub(crate) fn one<'a>(objects: &'a [Object], kind: &str) -> &'a Object {
    let mut found = objects.iter().filter(|object| object.kind() == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// Every pod template with its object.
pub(crate) fn pods() -> impl Iterator<Item = (&'static Object, &'static Value)> {
    rendered().iter().filter_map(|object| Some((object, object.pod()?)))
}

/// Every container of every pod template, initialising ones too.
pub(crate) fn containers() -> impl Iterator<Item = (&'static Object, &'static Value)> {
    pods().flat_map(|(object, pod)| {
        ["containers", "initContainers"]
            .into_iter()
            .flat_map(|key| pod["spec"][key].as_array().into_iter().flatten())
            .map(move |container| (object, container))
    })
}
