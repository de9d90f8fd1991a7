"""The configuration as code sees it: frozen, its keys as attributes."""
import collections.abc

from common.config.errors import nearest


class UnknownKey(AttributeError):
  """A configuration was asked for a key that it does not have."""


class Config(collections.abc.Mapping):
  """Frozen mapping whose keys are attributes, too.

  Raises:
    UnknownKey (an AttributeError), KeyError: for an unknown name. Assignment raises AttributeError.
  """

  def __init__(self, values):
    object.__setattr__(self, '_values', dict(values))

  def __getitem__(self, key):
    return self._values[key]

  def __iter__(self):
    return iter(self._values)

  def __len__(self):
    return len(self._values)

  def __getattr__(self, name):
    if name.startswith('_'):  # also keeps copy and pickle from asking in circles
      raise AttributeError(name)
    try:
      return self._values[name]
    except KeyError:
      raise UnknownKey(f'config has no key {name!r}. {nearest(name, self)}') from None

  def __setattr__(self, name, value):
    raise AttributeError(f'config is frozen: use config.replace({name}=...)')

  def __reduce__(self):
    return Config, (self._values,)

  def __repr__(self):
    return f'Config({self._values})'

  def replace(self, **values):
    """Return a copy with other values. The keys must exist already, or KeyError is raised."""
    unknown = sorted(set(values) - set(self._values))
    if unknown:
      raise KeyError(f'config has no key {unknown[0]!r}. {nearest(unknown[0], self)}')
    return Config({**self._values, **values})
