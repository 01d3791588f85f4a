"""What a user writes wrongly in a manifest, and the one line that they get for it."""

import io

import pytest

from longshore_operator.local.manifests import ManifestErrors, load

QUEUE = """\
apiVersion: longshore.dev/v1alpha1
kind: TaskQueue
metadata: {name: orders}
"""
POOL = """\
apiVersion: longshore.dev/v1alpha1
kind: WorkerPool
metadata: {name: shop}
spec:
  app: shop.tasks:app
  queues: [{name: orders}]
"""
SCHEDULE = """\
apiVersion: longshore.dev/v1alpha1
kind: CronSchedule
metadata: {name: nightly}
spec:
  cron: "0 2 * * *"
  task: shop.tasks.report
  queue: orders
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: broker}
stringData: {url: redis://redis}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
"""


def documents(*texts: str) -> str:
    return "---\n".join(texts)


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "all.yaml") -> str:
        file = tmp_path / name
        file.write_text(text)
        return str(file)

    return write


def errors(*paths: str) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        load(paths)
    return str(caught.value).splitlines()


def test_reads_every_kind_of_a_file_of_many_documents(write):
    found = load([write(documents(QUEUE, POOL, SCHEDULE, SECRET, SERVICE, "# nothing\n"))])
    assert [one["kind"] for one in found.resources] == ["TaskQueue", "WorkerPool", "CronSchedule"]
    assert [one["kind"] for one in found.configuration] == ["Secret"]
    assert [notice.partition(": ")[2] for notice in found.notices] == ["Service web is for a cluster: skipped"]


def test_reads_a_folder_and_only_on_request_the_folders_in_it(write, tmp_path):
    write(QUEUE, "queue.yml")
    write("not: [yaml", "notes.txt")
    (tmp_path / "more").mkdir()
    write(POOL, "more/pool.yaml")
    (tmp_path / ".hidden").mkdir()
    write("a: [", ".hidden/state.yaml")
    assert len(load([str(tmp_path)]).resources) == 1
    assert len(load([str(tmp_path)], recursive=True).resources) == 2


def test_reads_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(QUEUE))
    assert len(load(["-"]).resources) == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param("a: [", 1, "is not YAML: expected", id="not YAML"),
        pytest.param("\t- a", 1, "is not YAML: found character", id="a tab"),
        pytest.param("name: orders", 1, "is not a manifest: it has no apiVersion and kind", id="no manifest"),
        pytest.param("- 1\n", 1, "is not a manifest: it has no apiVersion and kind", id="a list"),
        pytest.param(
            QUEUE.replace("v1alpha1", "v1"), 1, "apiVersion: must be longshore.dev/v1alpha1", id="unknown version"
        ),
        pytest.param(
            QUEUE.replace("longshore.dev", "longshor.dev"), 1, "apiVersion: must be longshore.dev", id="group"
        ),
        pytest.param(QUEUE.replace("TaskQueue", "Taskqueue"), 2, "did you mean TaskQueue?", id="kind"),
        pytest.param(QUEUE.replace("orders", "Orders"), 3, "metadata.name: must be a name of small letters", id="name"),
        pytest.param(
            POOL + "  concurency: 3\n", 7, "spec.concurency: is not a known field; did you mean concurrency?", id="typo"
        ),
        pytest.param(POOL.replace("shop.tasks:app", "shop.tasks"), 5, "spec.app: must be module:attribute", id="app"),
        pytest.param(
            POOL + '  concurrency: "3"\n', 7, "spec.concurrency: must be a whole number", id="text for number"
        ),
        pytest.param(POOL + "  execution: Process\n", 7, "did you mean Processes?", id="enum"),
        pytest.param(SCHEDULE + "  everySeconds: 5\n", 4, "set exactly one of cron, everySeconds", id="two times"),
        pytest.param(SCHEDULE.replace("0 2 * * *", "0 2 * *"), 5, "spec.cron: must have five fields", id="cron"),
        pytest.param(
            QUEUE + "spec: {broker: {url: 'redis://:geheim@redis'}}\n", 4, "must not hold a password", id="password"
        ),
        pytest.param(documents(QUEUE, QUEUE), 7, "TaskQueue orders is already in", id="twice"),
        pytest.param(
            documents(QUEUE, POOL.replace("orders", "order")),
            10,
            'spec.queues[0].name: no TaskQueue "order" is among the manifests; did you mean orders?',
            id="pool without its queue",
        ),
        pytest.param(
            documents(QUEUE, SCHEDULE.replace("queue: orders", "queue: mails")),
            11,
            'spec.queue: no TaskQueue "mails" is among the manifests',
            id="schedule without its queue",
        ),
    ],
)
def test_says_what_is_wrong_and_where(write, text, line, message):
    file = write(text)
    (problem,) = errors(file)
    assert problem.startswith(f"{file}:{line}: "), problem
    assert message in problem
    assert "geheim" not in problem


def test_says_everything_at_once_in_the_order_of_the_lines(write):
    file = write(documents(POOL.replace("shop.tasks:app", "shop"), SCHEDULE.replace("task:", "tsk:"), "x: 1\n"))
    lines = [int(problem.removeprefix(file).split(":")[1]) for problem in errors(file, "/nowhere.yaml")[1:]]
    assert lines == sorted(lines)
    assert len(lines) >= 3
    assert errors("/nowhere.yaml") == ["/nowhere.yaml: cannot be read: No such file or directory"]


def test_says_that_there_is_nothing_to_run(write, tmp_path):
    assert errors(write(SERVICE))[0].endswith("holds no TaskQueue, WorkerPool, CronSchedule")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert errors(str(empty))[0] == f"{empty}: holds no .yaml, .yml or .json file; --recursive looks into its folders"


def test_says_that_a_file_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in errors(str(tmp_path))[0]
