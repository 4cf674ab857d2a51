# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven by the WebDriver protocol of chromedriver with Python's standard library.

Source: W3C WebDriver, https://www.w3.org/TR/webdriver2
"""

import base64
import http.client
import json
import re
import shutil
import subprocess
import tempfile
import time

from support import Skip, wait_until

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # of the protocol
TAB, ENTER = "\ue004", "\ue007"


class Browser:
    """One window. Use as a context."""

    def __init__(self, width=1280, height=900):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        driver = shutil.which("chromedriver")
        if not chromium or not driver:
            raise Skip("chromium or chromedriver is missing (Debian's chromium, chromium-driver)")
        self.folder = tempfile.TemporaryDirectory(prefix="phalanx_browser_", ignore_cleanup_errors=True)
        self.log = open(f"{self.folder.name}/chromedriver.log", "w+", encoding="utf-8")
        self.driver = subprocess.Popen([driver, "--port=0"], stdout=self.log, stderr=subprocess.STDOUT)
        self.session = None
        try:
            wait_until(lambda: self._port() or self.driver.poll() is not None, 20, "chromedriver listens")
            self.port = self._port()
            assert self.port, "chromedriver does not start"
            options = {
                "binary": chromium,
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                         "--disable-background-networking", f"--user-data-dir={self.folder.name}/profile",
                         f"--window-size={width},{height}"],
            }
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = answer["sessionId"]
        except BaseException:
            self.close()
            raise

    def _port(self):
        with open(self.log.name, encoding="utf-8") as file:
            found = re.search(r"started successfully on port (\d+)", file.read())
        return int(found.group(1)) if found else None

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = json.dumps(body if body is not None else {}) if method == "POST" else None
        connection.request(method, path, body=text, headers={"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and "error" in answer and "message" in answer:
            raise AssertionError(f"{method} {path}: {answer['error']}: {answer['message']}")
        return answer

    def _do(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def close(self):
        if self.session:
            try:
                self._do("DELETE", "")
            except (OSError, AssertionError):
                pass
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        self.log.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()

    def open(self, address):
        self._do("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        """The value that the script returns."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def find(self, selector):
        return self._do("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self._do("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        """Also chooses the file of this path, in a field for files."""
        self._do("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, key):
        """To whatever has the focus."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def accessible_name(self, element):
        """As the browser computes it for screen readers."""
        return self._do("GET", f"/element/{element}/computedlabel")

    def elements(self, selector):
        return [e[ELEMENT] for e in self._do("POST", "/elements", {"using": "css selector", "value": selector})]

    def console(self):
        """What was written to the console since it was last asked for."""
        return self._do("POST", "/se/log", {"type": "browser"})

    def errors(self):
        return [entry["message"] for entry in self.console() if entry["level"] == "SEVERE"]

    def emulate(self, **features):
        """Media features, such as prefers_color_scheme="dark"."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": listed}})

    def resize(self, width, height):
        """Of the page, whatever a window's least size is."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def screenshot(self, path, whole=True):
        params = {"captureBeyondViewport": whole}
        data = self._do("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": params})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def wait(self, script, seconds, what):
        """Until the script returns something true."""
        wait_until(lambda: self.run(script) or time.sleep(0.1), seconds, what)
