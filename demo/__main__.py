"""`python -m demo`: the embedded cluster's command line."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from demo.embedded import launcher
from demo.embedded.cluster import Cluster
from demo.embedded.control import ClusterGoneError, RefusedRequestError
from demo.embedded.directory import LOG_NAME, NotRunningError
from demo.embedded.hosts import GATEWAY, MASTER
from demo.embedded.launcher import Options
from demo.embedded.locked import AlreadyRunningError, LaunchError
from demo.embedded.namespaces import NamespacesRefusedError
from demo.embedded.processes import Shape
from demo.embedded.product.listing import list_all
from demo.embedded.remedy import explain, read_machine
from demo.options import (
    APART,
    CONTROLLERS,
    DIRECTORY,
    ERA,
    ETCD_MEMBERS,
    HOSTS,
    ISOLATION,
    PORT,
    parse_additions,
    parse_era_option,
    render_arguments,
)
from demo.stories.camera import Camera, CameraError, check_camera
from demo.stories.narrator import Narrator
from demo.stories.rest import MarathonApi, MarathonRefusedError
from demo.stories.scene import MeasureError, Watcher
from demo.stories.stage import Stage, StoryFailedError
from demo.stories.told.programme import ALL, STORIES, tell
from demo.stories.view import make_console

LOG_LINES = 15
#: The longest that a new cluster is waited for.
AGENTS_SECONDS = 10.0
#: How it was started here, with no need of a `python` on the PATH.
COMMAND = f"{os.path.relpath(sys.executable)} -m demo"


@click.group(context_settings={"auto_envvar_prefix": "MARATHON_CALICO_DEMO"})
def main() -> None:
    """A whole cluster - etcd, Marathon, hosts, tasks - in namespaces of its own."""


@main.command()
@DIRECTORY
@click.option("--background", is_flag=True, help="Return when it runs; `down` ends it.")
@click.option(
    "--supervised",
    is_flag=True,
    help="Run controller and agents as processes, not as apps of Marathon.",
)
@HOSTS
@ETCD_MEMBERS
@CONTROLLERS
@APART
@click.option(
    "--port",
    type=PORT,
    default=0,
    show_default="any free one",
    help="Marathon's API on loopback.",
)
@click.option(
    "--page-port",
    type=PORT,
    default=0,
    show_default="any free one",
    help="Star's page on loopback.",
)
@ERA
@ISOLATION
@click.option(
    "--without", multiple=True, metavar="PROCESS", help="Do not start it before `start PROCESS`."
)
@click.option(
    "--add",
    "additions",
    multiple=True,
    metavar="PROCESS=ARGUMENTS",
    help="More arguments for one process.",
)
def up(
    directory: Path,
    background: bool,
    supervised: bool,
    hosts: int,
    etcd_members: int,
    controllers: int,
    apart: int,
    port: int,
    page_port: int,
    era: str,
    isolation: str | None,
    without: tuple[str, ...],
    additions: tuple[str, ...],
) -> None:
    """Start a cluster; it runs until Ctrl-C, or in the background until `down`."""
    arguments = render_arguments(
        parse_era_option(era), isolation, hosts, parse_additions(additions)
    )
    shape = Shape(etcd_members, controllers, apart)
    if not supervised and shape != Shape():
        raise click.UsageError("--etcd-members and --controllers need --supervised")
    options = Options(hosts, without, arguments, port, page_port, supervised, shape)
    with _failures():
        if background:
            cluster = Cluster(directory, launcher.launch_background(directory, options))
            if not without:
                _await_agents(cluster, hosts)
            _announce(cluster, f"`{COMMAND} down` ends it.")
            return
        running = launcher.launch_foreground(directory, options)
        try:
            _end_on_signals()
            _announce(Cluster(directory, running.record), "Ctrl-C ends it.")
            running.wait()
            raise LaunchError("the cluster ended", directory / LOG_NAME)
        except KeyboardInterrupt:
            click.echo("\nThe cluster is gone.")
        finally:
            running.end()


@main.command()
@click.argument("story", type=click.Choice([*STORIES, ALL]), default=ALL)
@HOSTS
@click.option(
    "--screenshots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Take a picture of Star's page for each story; needs Chromium.",
)
@ERA
@ISOLATION
def run(story: str, hosts: int, screenshots: Path | None, era: str, isolation: str | None) -> None:
    """Start a cluster, tell the stories of Star on it, or one of them, and end it."""
    version = parse_era_option(era)
    narrator = Narrator(make_console())
    with _failures(), tempfile.TemporaryDirectory(prefix="marathon-calico-") as name:
        begin = time.monotonic()
        if screenshots is not None:
            check_camera()
        narrator.heading(f"A Mesos cluster in namespaces of its own: a master and {hosts} hosts")
        with narrator.step("namespaces, network, etcd, Marathon, controller and agents started"):
            running = launcher.launch_foreground(
                Path(name),
                Options(hosts, arguments=render_arguments(version, isolation, hosts, {})),
            )
        try:
            _end_on_signals()
            cluster = Cluster(Path(name), running.record)
            with MarathonApi(cluster.marathon_url) as marathon:
                camera = Camera(screenshots, cluster.star_url, narrator)
                attached = isolation is not None
                stage = Stage(cluster, marathon, narrator, version, camera.take, attached=attached)
                _tell(stage, story)
        except KeyboardInterrupt:
            _fail("\nInterrupted; the cluster is gone.", 130)
        finally:
            running.end()
        seconds = time.monotonic() - begin
        narrator.heading(f"All as called for. The cluster is gone after {seconds:.0f} s.")


@main.command()
@DIRECTORY
def down(directory: Path) -> None:
    """End the background cluster: every process, namespace and mount of it."""
    with _failures():
        launcher.end_background(directory)
    click.echo("The cluster is gone.")


@main.command()
@DIRECTORY
def status(directory: Path) -> None:
    """Show hosts and processes; exit code 1 if a process is down, 3 without a cluster."""
    with _failures():
        cluster = Cluster.attach(directory)
        reply = cluster.control.status()
    click.echo(f"Marathon  {cluster.marathon_url}")
    click.echo(f"Star      {cluster.star_url}")
    lines, lack = list_all(cluster, reply)
    for line in filter(None, (*lines, lack)):
        click.echo(line)
    complete = not lack and all(process.pid is not None for process in reply.processes)
    if not complete:
        sys.exit(1)


@main.command()
@DIRECTORY
def env(directory: Path) -> None:
    """Print the cluster's URLs as shell variables, which programs inherit."""
    with _failures():
        cluster = Cluster.attach(directory)
        environment = cluster.control.status().environment
    click.echo(f"export MARATHON_URL={shlex.quote(cluster.marathon_url)}")
    click.echo(f"export STAR_URL={shlex.quote(cluster.star_url)}")
    click.echo(f"# only inside, see `{COMMAND} exec`:")
    click.echo(f"export MARATHON_CALICO_ETCD={shlex.quote(environment['MARATHON_CALICO_ETCD'])}")


@main.command(context_settings={"ignore_unknown_options": True})
@DIRECTORY
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec(directory: Path, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on a host, its exit code is ours: `exec host-1 -- ip route`."""
    with _failures():
        try:
            process = Cluster.attach(directory).popen(host, command, stdin=None)
        except FileNotFoundError:
            _fail(f"{command[0]}: there is no such program on {host}", 127)
        except (PermissionError, subprocess.SubprocessError) as error:
            raise LaunchError(f"{command[0]}: {error}") from error
        # Ctrl-C is the command's.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(process.wait())


@main.command()
@DIRECTORY
@click.argument("process")
def logs(directory: Path, process: str) -> None:
    """Print what a process wrote so far."""
    with _failures():
        click.echo(Cluster.attach(directory).log(process), nl=False)


@main.command()
@DIRECTORY
@click.argument("process")
def start(directory: Path, process: str) -> None:
    """Keep a process running from now on."""
    with _failures():
        Cluster.attach(directory).start(process)


@main.command()
@DIRECTORY
@click.argument("process")
def stop(directory: Path, process: str) -> None:
    """End a process (kill -9) and do not start it again."""
    with _failures():
        Cluster.attach(directory).stop(process)


@main.command()
@DIRECTORY
@click.argument("process")
@click.option("--signal", "name", default="KILL", show_default=True, help="Which signal.")
def kill(directory: Path, process: str, name: str) -> None:
    """Send a signal to a process; it is started again if it ends."""
    with _failures():
        try:
            number = signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
        except KeyError as error:
            raise click.UsageError(f"no signal {name}") from error
        Cluster.attach(directory).kill(process, number)


def _tell(stage: Stage, story: str) -> None:
    """Tell what was asked for; if it goes wrong, say why and what the processes last wrote."""
    try:
        tell(stage, story)
    except (StoryFailedError, MarathonRefusedError, MeasureError, CameraError) as error:
        click.echo(f"\nFAILED: {error}", err=True)
        for name, log in stage.cluster.logs():
            click.echo("\n".join((f"\n--- {name}", *log.splitlines()[-LOG_LINES:])), err=True)
        sys.exit(1)


def _await_agents(cluster: Cluster, hosts: int) -> None:
    """Give the agents time until they attach tasks: one that comes before fails to start."""
    deadline = time.monotonic() + AGENTS_SECONDS
    with MarathonApi(cluster.marathon_url) as marathon:
        watcher = Watcher(cluster, marathon)
        while watcher.hosts_ready() < hosts and time.monotonic() < deadline:
            time.sleep(0.1)


def _announce(cluster: Cluster, ending: str) -> None:
    hosts = [host for host in cluster.control.status().hosts if host.name != MASTER]
    click.echo(f"The cluster runs with {len(hosts)} hosts behind {GATEWAY}.")
    click.echo(f"  Marathon  {cluster.marathon_url}")
    click.echo(f"  Star      {cluster.star_url}")
    click.echo(f"  Inside    {COMMAND} exec {MASTER} -- marathon-calico status")
    click.echo(ending)


def _end_on_signals() -> None:
    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    # Also Ctrl-C: a shell has it ignored by what it starts in the background.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what may go wrong into one message and an exit code."""
    try:
        yield
    except NamespacesRefusedError as error:
        _fail(explain(error.refusal, read_machine()), 2)
    except LaunchError as error:
        # That of a cluster for one story is gone with its directory.
        told = error.log is not None and error.log.exists() and error.log.stat().st_size
        _fail(f"{error}\nIts log: {error.log}" if told else str(error), 1)
    except AlreadyRunningError as error:
        _fail(str(error), 1)
    except (RefusedRequestError, CameraError) as error:
        _fail(str(error), 2)
    except (NotRunningError, ClusterGoneError) as error:
        _fail(str(error), 3)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m demo")
