#!/usr/bin/env python3
"""Opens the page of an experiment in a real browser, as on a desk, on a phone, in the dark and on paper.

    python3 bench/look.py PAGE.html PICTURES_DIR

Needs Chromium (Debian: apt-get install chromium). Fails if the page says anything on the console,
fetches anything, shows no plots, or is wider than the screen. Leaves a picture of each to look at.
"""

import html.parser
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

VIEWS = {
    "desk": ["--window-size=1280,2400"],
    "phone": ["--window-size=500,3200"],
    "dark": ["--window-size=1280,2400", "--blink-settings=preferredColorScheme=0"],
}
# Put into a copy of the page: says how wide it is where `--dump-dom` shows it.
PROBE = """<script>addEventListener('load', () => {
  const root = document.documentElement;
  root.dataset.width = root.scrollWidth; root.dataset.screen = root.clientWidth;
  root.dataset.plots = [...document.querySelectorAll('figure svg')]
    .filter(svg => svg.getBoundingClientRect().height > 50).length;
  root.dataset.fetched = performance.getEntriesByType('resource').length;
});</script>"""


class Root(html.parser.HTMLParser):
    """The attributes of the page's root."""

    found: dict = {}

    def handle_starttag(self, tag, attrs):
        if tag == "html":
            self.found = dict(attrs)


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if shutil.which(name):
            return name
    return None


def run(name, arguments, uri):
    home = tempfile.mkdtemp(prefix="look-")
    command = [
        name, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000",
        f"--user-data-dir={home}", *arguments, uri,
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main():
    page, pictures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    name = browser()
    if name is None:
        sys.exit("no Chromium here: apt-get install chromium")
    pictures.mkdir(parents=True, exist_ok=True)
    failures = []
    for view, arguments in VIEWS.items():
        picture = pictures / f"{page.stem}-{view}.png"
        uri = page.resolve().as_uri()
        said = run(name, [*arguments, f"--screenshot={picture}"], uri).stderr
        failures += [f"{view}: {line}" for line in said.splitlines() if "CONSOLE" in line]
        if not picture.exists() or picture.stat().st_size < 20_000:
            failures.append(f"{view}: no picture to speak of")
        probed = pictures / f".{page.stem}-probe.html"
        probed.write_text(page.read_text().replace("</head>", PROBE + "</head>"))
        root = Root()
        root.feed(run(name, [*arguments, "--dump-dom"], probed.resolve().as_uri()).stdout)
        os.unlink(probed)
        seen = {key: int(root.found.get(f"data-{key}", -1))
                for key in ("width", "screen", "plots", "fetched")}
        print(f"{page.name}, {view}: {seen}")
        if seen["plots"] < 1:
            failures.append(f"{view}: no plots")
        if seen["width"] > seen["screen"]:
            failures.append(f"{view}: {seen['width']} wide on a screen of {seen['screen']}")
        if seen["fetched"] > 0:
            failures.append(f"{view}: fetched {seen['fetched']} things")
    paper = pictures / f"{page.stem}.pdf"
    run(name, [f"--print-to-pdf={paper}", "--no-pdf-header-footer"], page.resolve().as_uri())
    if not paper.exists() or not paper.read_bytes().startswith(b"%PDF"):
        failures.append("paper: nothing printed")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
