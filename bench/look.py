#!/usr/bin/env python3
"""Opens the page of an experiment in a real browser, as on a desk, on a phone, in the dark and on paper.

    python3 bench/look.py PAGE.html PICTURES_DIR
    python3 bench/look.py --png REPORTS_DIR        every plot there as PNG, beside its SVG

Needs Chromium (Debian: apt-get install chromium). Fails if the page says anything on the console,
fetches anything, shows no plots, or is wider than the screen. Leaves a picture of each to look at.
"""

import contextlib
import html.parser
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

# How often a browser is begun, and how long it may take.
TRIES = 4
PATIENCE_S = 45
# Name: width of the paper or screen, what the browser is told, what the page is told besides. Chromium
# has no window as narrow as a phone, so there the page is.
VIEWS = {
    "desk": (1280, ["--window-size=1280,2400"], ""),
    "phone": (390, ["--window-size=500,3200"], "html { width: 390px; }"),
    "dark": (1280, ["--window-size=1280,2400", "--blink-settings=preferredColorScheme=0"], ""),
    "paper": (740, ["--window-size=740,3200"], ""),
}
# Put into a copy of the page: says how wide it is where `--dump-dom` shows it.
PROBE = """<script>addEventListener('load', () => {
  const root = document.documentElement;
  // What scrolls by itself may be wider.
  const seen = [...document.body.querySelectorAll('*')]
    .filter(element => !element.parentElement.closest('.scroll'));
  root.dataset.width = Math.ceil(Math.max(...seen.map(e => e.getBoundingClientRect().right)));
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
    """What the browser says; one that hangs, as it does now and then on a busy machine, is begun anew."""
    for _ in range(TRIES):
        home = tempfile.mkdtemp(prefix="look-")
        command = [
            name, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000",
            f"--user-data-dir={home}", *arguments, uri,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, start_new_session=True)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
            if process.returncode == 0:
                return subprocess.CompletedProcess(command, 0, out, err)
            said = err
        except subprocess.TimeoutExpired:
            said = f"it hung for {PATIENCE_S} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(home, ignore_errors=True)
        print(f"{name} is begun anew for {uri}: {said.strip()[-300:]}", file=sys.stderr)
    sys.exit(f"{name} failed {TRIES} times for {uri}")


def draw(directory):
    """Every SVG in the directory as PNG, three times as dense as a usual screen."""
    for plot in sorted(pathlib.Path(directory).glob("*.svg")):
        picture = plot.with_suffix(".png")
        width, height = re.search(r'viewBox="0 0 ([0-9]+) ([0-9]+)', plot.read_text()).groups()
        run(browser(), [f"--window-size={width},{height}", "--force-device-scale-factor=3",
                        f"--screenshot={picture}"], plot.resolve().as_uri())
        if not picture.exists() or picture.stat().st_size < 5_000:
            sys.exit(f"{plot}: no picture to speak of")
        print(picture)


def main():
    if sys.argv[1] == "--png" and browser():
        return draw(sys.argv[2])
    page, pictures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    name = browser()
    if name is None:
        sys.exit("no Chromium here: apt-get install chromium")
    pictures.mkdir(parents=True, exist_ok=True)
    failures = []
    for view, (width, arguments, style) in VIEWS.items():
        picture = pictures / f"{page.stem}-{view}.png"
        text = page.read_text()
        if view == "paper":
            text = text.replace("@media print", "@media all")
        shown = pictures / f".{page.stem}-{view}.html"
        shown.write_text(text.replace("</head>", f"<style>{style}</style></head>"))
        said = run(name, [*arguments, f"--screenshot={picture}"], shown.resolve().as_uri()).stderr
        failures += [f"{view}: {line}" for line in said.splitlines() if "CONSOLE" in line]
        if not picture.exists() or picture.stat().st_size < 20_000:
            failures.append(f"{view}: no picture to speak of")
        shown.write_text(shown.read_text().replace("</head>", PROBE + "</head>"))
        root = Root()
        root.feed(run(name, [*arguments, "--dump-dom"], shown.resolve().as_uri()).stdout)
        os.unlink(shown)
        seen = {key: int(root.found.get(f"data-{key}", -1)) for key in ("width", "plots", "fetched")}
        print(f"{page.name}, {view}: {seen}")
        if seen["plots"] < 1:
            failures.append(f"{view}: no plots")
        # In print, tables may be as wide as they are: the browser shrinks the sheet.
        if seen["width"] > width and view != "paper":
            failures.append(f"{view}: {seen['width']} wide where there are {width}")
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
