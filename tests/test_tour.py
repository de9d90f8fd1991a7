"""The tour of a trained agent does what its page says."""
import re

from PIL import Image
import pytest

from pages import ROOT, TEXT

BLOCKS = re.findall(r'```python\n(.*?)```', TEXT['docs/tour.md'], re.DOTALL)


@pytest.fixture(scope='module')
def told(tmp_path_factory):
  """(folder, names) after all pieces of the page, in one session that begins at the top."""
  folder = tmp_path_factory.mktemp('tour')
  (folder / 'results').symlink_to(ROOT / 'results')
  names, lines = {}, []
  names['print'] = lambda *words: lines.append(' '.join(map(str, words)))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.setenv('MPLBACKEND', 'agg')
    for block in BLOCKS:
      exec(compile(block, 'tour.md', 'exec'), names)
  for world in names['world']:
    world.close()
  return folder, names, lines


def test_every_piece_leaves_its_picture(told):
  folder, _, lines = told
  written = re.findall(r"'(\w+\.(?:gif|png))'", '\n'.join(BLOCKS))
  assert len(written) == 6 and len(BLOCKS) == 5
  for name in written:
    image = Image.open(folder / name)
    assert min(image.size) >= 64, name
  assert len(lines) == 11, lines


def test_the_agent_and_its_model_are_worth_showing(told):
  _, names, _ = told
  earned, opposite = (
      float(names[key]['reward'].sum()) for key in ('episode', 'fallen'))
  assert earned > 700 and opposite < earned / 2, (earned, opposite)
  assert len(names['value']) == len(names['follows']) + 1
