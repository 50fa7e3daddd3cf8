"""A PHP site for tests, in the layout of each CMS: real PHP processes over the store of a Python site."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

from support.site import TESTS, Site

PHP_SITE = TESTS / "php_site"
LAYOUTS = ("wordpress", "joomla", "drupal7", "drupal8", "backdrop", "standalone")

WORDPRESS = """<?php
define('ABSPATH', __DIR__ . '/');
function wp_set_current_user($id) {}
function get_option($name, $default = false) { return $default; }
INITIALIZE"""
FACTORY = r"""<?php
namespace Joomla\CMS;

class Factory {
  public static $application;
  public static function getApplication() {
    return self::$application ?: self::$application = new \stdClass();
  }
  public static function getContainer() { return new Container(); }
}

class Container {
  public function alias($alias, $name) { return $this; }
  public function get($name) { return new \stdClass(); }
}
"""
DEFINES = "<?php\ndefined('JPATH_BASE') || define('JPATH_BASE', dirname(__DIR__));\n"
INITIALIZE = """function civicrm_initialize() {
  require_once SETTINGS;
  require_once CORE;
  CRM_Core_Config::singleton();
}
"""
DRUPAL = """<?php
define('{system}_BOOTSTRAP_FULL', 7);
function {call}_bootstrap($phase) {{}}
function module_exists($name) {{ return function_exists('civicrm_initialize'); }}
"""
DRUPAL8 = r"""<?php
namespace Symfony\Component\HttpFoundation {
  class Request {
    public $attributes;
    public static function createFromGlobals() { $r = new self(); $r->attributes = new \Bag(); return $r; }
  }
}
namespace Symfony\Component\Routing { class Route { public function __construct($path) {} } }
namespace Drupal\Core\Routing {
  interface RouteObjectInterface { const ROUTE_OBJECT = 'object'; const ROUTE_NAME = 'name'; }
}
namespace Drupal\Core {
  class DrupalKernel {
    public static function createFromRequest($request, $autoloader, $environment) { return new self(); }
    public function boot() {}
    public function preHandle($request) {}
    public function getContainer() { return new \Container(); }
    public function rebuildContainer() {}
  }
}
namespace {
  class Bag { public function set($name, $value) {} }
  class Container { public function get($name) { return new Stack(); } }
  class Stack { public function push($request) {} public function fromRequest($request) {} }
  class CiviService { public function initialize() { civicrm_initialize(); } }
  class Drupal {
    public static function hasService($name) { return function_exists('civicrm_initialize'); }
    public static function service($name) { return new CiviService(); }
  }
  function t($text) { return $text; }
  INITIALIZE
  return new stdClass();
}
"""
# layout: the settings file, and the CMS's own files with their texts
FILES = {
    "wordpress": (
        "wp-content/uploads/civicrm/civicrm.settings.php",
        {
            "wp-load.php": WORDPRESS,
            "wp-includes/version.php": "<?php\n$wp_version = '6.6';\n",
            "wp-content/plugins/civicrm/civicrm/civicrm-version.php": "<?php\n",
            "wp-content/uploads/civicrm/ext/one/info.xml": "<extension/>\n",
        },
    ),
    "joomla": (
        "administrator/components/com_civicrm/civicrm.settings.php",
        {
            "administrator/components/com_users/users.php": "<?php\n",
            "libraries/src/Factory.php": FACTORY,
            "includes/defines.php": DEFINES,
            "includes/framework.php": "<?php\n",
            "administrator/includes/defines.php": DEFINES,
            "administrator/includes/framework.php": "<?php\n",
            "administrator/components/com_civicrm/civicrm/civicrm-version.php": "<?php\n",
        },
    ),
    "drupal7": (
        "sites/default/civicrm.settings.php",
        {
            "modules/system/system.module": "<?php\n",
            "includes/bootstrap.inc": DRUPAL.format(system="DRUPAL", call="drupal") + "INITIALIZE",
            "sites/all/modules/civicrm/civicrm-version.php": "<?php\n",
        },
    ),
    "drupal8": (
        "sites/default/civicrm.settings.php",
        {
            "core/core.services.yml": "services: []\n",
            "autoload.php": DRUPAL8,
            "../vendor/composer/installed.json": "{}\n",
        },
    ),
    "backdrop": (
        "civicrm.settings.php",
        {
            "core/modules/layout/layout.module": "<?php\n",
            "core/includes/bootstrap.inc": DRUPAL.format(system="BACKDROP", call="backdrop") + "INITIALIZE",
            "core/includes/config.inc": "<?php\n",
        },
    ),
    "standalone": (
        "private/civicrm.settings.php",
        {
            "civicrm.standalone.php": "<?php\nrequire_once __DIR__ . '/private/civicrm.settings.php';\n",
            "vendor/autoload.php": "<?php\n",
            "vendor/composer/installed.json": "{}\n",
        },
    ),
}
CMS = {"wordpress": "WordPress", "drupal7": "Drupal", "drupal8": "Drupal8"}


def need(program, *arguments, what=""):
    """Skip the test where a program is missing; fail it where everything must be there."""
    if shutil.which(program) and (
        not arguments
        or subprocess.run([program, *arguments], capture_output=True, check=False).returncode == 0
    ):
        return
    reason = f"{what or program} is not installed"
    if os.environ.get("COWORKER_TEST_REQUIRE") == "all":
        pytest.fail(reason)
    pytest.skip(reason)


@lru_cache
def _php():
    need("php", "-r", "exit(extension_loaded('sqlite3') && extension_loaded('posix') ? 0 : 1);",
         what="php-cli with sqlite3")  # fmt: skip


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class PhpSite(Site):
    """`root` is the CMS's. `configure` changes what the stand-in does; see civicrm/core.php."""

    def __init__(self, directory, layout="wordpress", *, enabled=True, **config):
        _php()
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        super().__init__(self.directory / "site.db", self.directory / "tasks.log")
        self.layout, self.root = layout, self.directory / "cms"
        self.config_file = self.directory / "fake.json"
        self._config = {"store": str(self.store)}
        self.configure(**config)
        self._lay(enabled=enabled)

    def _lay(self, *, enabled):
        settings, files = FILES[self.layout]
        self.settings_file = self.root / settings
        constants = (
            f"if (!defined('SETTINGS')) {{ define('SETTINGS', {str(self.settings_file)!r});"
            f" define('CORE', {str(PHP_SITE / 'civicrm/core.php')!r}); }}\n"
        )
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("INITIALIZE", constants + INITIALIZE if enabled else ""))
        self.settings_file.parent.mkdir(parents=True, exist_ok=True)
        if enabled:
            self.settings_file.write_text(
                "<?php\nglobal $civicrm_root;\n"
                f"$civicrm_root = {str(PHP_SITE / 'civicrm')!r};\n"
                f"define('CIVICRM_FAKE_CONFIG', {str(self.config_file)!r});\n"
                f"define('CIVICRM_UF', {CMS.get(self.layout, self.layout.title())!r});\nreturn true;\n"
            )

    def configure(self, **changes):
        """Change the stand-in's settings, also while it runs."""
        self._config.update(changes)
        new = self.config_file.with_suffix(".new")
        new.write_text(json.dumps(self._config))
        new.replace(self.config_file)

    def command(self, *options, flags="vtl"):
        """A pipe without any CMS, and without the adapter."""
        return shlex.join(["exec", "php", str(PHP_SITE / "boot.php"), str(self.settings_file), flags])

    def pipe_command(self, flags="vtl"):
        """A pipe through the CMS of this layout, but without the adapter."""
        return shlex.join(["exec", "php", str(PHP_SITE / "boot.php"), self.layout, str(self.root), flags])

    def push(self, queue, task, *arguments, **more):
        """As Site.push; the tasks are those of civicrm/tasks.php, which has more than support.tasks."""
        if ":" not in task:
            task, arguments = f"php:{task}", (str(self.journal), *arguments)
        return super().push(queue, task, *arguments, **more)

    @contextmanager
    def serve(self, workers=4):
        """PHP's web server with this site. Yields its URL."""
        port = free_port()
        env = {**os.environ, "FAKE_SETTINGS": str(self.settings_file), "PHP_CLI_SERVER_WORKERS": str(workers)}
        log = (self.directory / "server.log").open("ab")
        process = subprocess.Popen(
            ["php", "-S", f"127.0.0.1:{port}", str(PHP_SITE / "civicrm/http.php")],
            env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.close()


def wait_for_port(port, process, seconds=20.0):
    """Until somebody listens there."""
    deadline = time.monotonic() + seconds
    while True:
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        assert time.monotonic() < deadline, "nobody listens"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
