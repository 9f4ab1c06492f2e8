"""Controllers and agents among the processes that `status` shows."""

from __future__ import annotations

import click

from demo.embedded.cluster import Cluster
from demo.embedded.product.names import CONTROLLERS, GROUP, name_task
from demo.stories.rest import MarathonApi, MarathonRefusedError


def show_product(cluster: Cluster, hosts: int) -> bool:
    """Show controllers and agents as Marathon lists them; False if one does not run."""
    try:
        with MarathonApi(cluster.marathon_url) as marathon:
            tasks = [task for task in marathon.tasks() if task.app_id.startswith(f"{GROUP}/")]
    except MarathonRefusedError as error:
        click.echo(f"  controllers and agents are tasks of Marathon: {error}")
        return False
    for task in sorted(tasks, key=lambda task: (task.app_id, task.host)):
        state = "running" if task.running else "starting"
        name = name_task(task.app_id, task.host)
        click.echo(f"  {name:<17} {task.host:<13} {state:<10} task {task.task_id}")
    running = sum(task.running for task in tasks)
    return running >= hosts + min(CONTROLLERS, hosts)
