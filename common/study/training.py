"""Training the runs of a sweep, several at a time, and telling a view of it."""
from common.data import sources
from common.loop import logdir
from common.study import jobs


def train(runs, pool, view):
  """Train the runs that are not finished, telling the view.

  Args:
    runs: list of Run.
    pool: jobs.Processes or ray_jobs.Cluster, closed at the end; None if all runs are finished.
    view: as sweep_view.make returns it.
  Returns:
    Exit code: 0 if all runs are finished, 1 if not, 128 + number of the signal that ended it.
  """
  of = {run.name: run for run in runs}
  state = lambda run: view.statuses[run.name].state

  def ready(job):
    run = of[job.name]
    held = sources.held(run.path)  # first: who lets go in between has finished
    if logdir.finished(run.path, run.config):
      view.tell(run, 'skipped', 'finished already')
      return jobs.NEVER
    if held:
      if state(run) != 'held':
        view.tell(run, 'held', 'another process trains here')
      return jobs.LATER
    return jobs.START

  # All that is finished is told of now, not when there is room for it.
  waiting = [job for job in map(make_job, runs) if ready(job) != jobs.NEVER]
  try:
    for job, code, reason in jobs.run(waiting, pool, ready) if pool else ():
      run = of[job.name]
      if code is None:
        view.tell(run, 'running')
      elif code == 0:
        view.tell(run, 'done')
      elif pool.stopping:
        if state(run) == 'running':  # and is not only queued in a cluster
          view.tell(run, 'stopped')
      elif sources.held(run.path):  # someone was faster
        waiting.append(job)
      else:
        view.tell(run, 'failed', f'{reason} | {job.log}')
  except SystemExit as stop:
    return stop.code
  return int(not all(state(run) in ('done', 'skipped') for run in runs))


def make_job(run):
  """The jobs.Job that trains a run, with its log beside the directory."""
  return jobs.Job(
      run.name, run.argv, run.path.with_name(f'{run.name}.log'), run.config.devices)
