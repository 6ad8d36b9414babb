"""A page opened in Chromium without a screen, pressed by a script, and what it then shows."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs the browser chromium")

PRESS = """
<script>
{  // names of its own, beside those of the page
const told = (id, text) => {
  const box = document.createElement("pre"); box.id = id; box.textContent = text; document.body.append(box); };
URL.createObjectURL = blob => { blob.text().then(text => told("saved", text)); return "#"; };
%s
}
</script>
"""


def browse(page: Path, script: str, profile: Path) -> tuple[str, dict[str, str]]:
    """The page's HTML after `script`, and the texts of its <pre> elements by id.

    What the page saves to a file is the element "saved"; the script makes others with `told(id, text)`.
    """
    pressed = page.with_name("pressed.html")
    pressed.write_text(page.read_text(encoding="utf-8").replace("</body>", PRESS % script + "</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=3000"]
    dom = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", pressed.as_uri()], capture_output=True, text=True, timeout=300, check=True
    ).stdout
    found = {name: unescape(text) for name, text in re.findall(r'<pre id="(\w+)">(.*?)</pre>', dom, re.DOTALL)}
    assert "saved" in found, dom[-2000:]
    return dom, found
