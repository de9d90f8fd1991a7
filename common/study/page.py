"""One self-contained page of HTML: elements whose content is escaped, and the style around them.

Nothing on a page is loaded from elsewhere and nothing runs: its policy forbids both.
"""
import base64
import html
import pathlib

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

VOID = ('img', 'meta', 'br', 'wbr')

# Colours are chosen for light and dark; whatever they say is said in words or signs, too.
STYLE = pathlib.Path(__file__).with_suffix('.css')


class Html(str):
  """Text that is HTML already. Every other text is escaped."""


def tag(name, /, *content, **attributes):
  """Return an element as Html.

  Args:
    name: such as 'td'.
    content: Html, text, numbers; lists of those; None is left out.
    attributes: `class_` stands for class, `_` for `-`; None is left out, True has no value.
  """
  words = ''.join(
      f' {key.rstrip("_").replace("_", "-")}' + (
          '' if value is True else f'="{html.escape(str(value))}"')
      for key, value in attributes.items() if value is not None)
  end = '' if name in VOID else f'</{name}>'
  return Html(f'<{name}{words}>{join(*content)}{end}')


def join(*content):
  """Return content, as `tag` takes it, without an element around it."""
  parts = []
  for part in content:
    if isinstance(part, (list, tuple)):
      parts.append(join(*part))
    elif part is not None:
      parts.append(part if isinstance(part, Html) else html.escape(str(part)))
  return Html(''.join(parts))


def table(name, head, rows, class_=None):
  """A table that scrolls by itself where it is wider than the page.

  Args:
    name: what it shows, for those who cannot see it.
    head: content of the header cells.
    rows: lists of cells as long as the head; the first is the header of its row.
    class_: further class.
  """
  header = [tag('th', cell, scope='col') for cell in head]
  body = [
      tag('tr', tag('th', row[0], scope='row'), [tag('td', cell) for cell in row[1:]])
      for row in rows]
  return tag(
      'div', tag('table', tag('thead', tag('tr', header)), tag('tbody', body), class_=class_),
      class_='scroll', role='region', aria_label=name, tabindex=0)


def pairs(items):
  """A list of (term, content), those without content left out."""
  return tag('dl', [
      tag('div', tag('dt', term), tag('dd', content)) for term, content in items if content])


def details(summary, *content, open_=None, class_=None, id_=None):
  """What is read on demand."""
  return tag('details', tag('summary', summary), content, open=open_, class_=class_, id_=id_)


def data_uri(kind, data):
  """Bytes as the address of an image. kind: such as image/gif."""
  return f'data:{kind};base64,{base64.b64encode(data).decode()}'


def document(title, *content):
  """Return the whole page as text.

  Args:
    title: of the window.
    content: of the body, as `tag` takes it.
  """
  head = tag(
      'head', tag('meta', charset='utf-8'),
      tag('meta', http_equiv='Content-Security-Policy', content=POLICY),
      tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
      tag('meta', name='color-scheme', content='light dark'),
      tag('title', title), tag('style', Html(STYLE.read_text(encoding='utf-8'))))
  return f'<!DOCTYPE html>\n{tag("html", head, tag("body", content), lang="en")}\n'
