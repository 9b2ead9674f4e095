"""npm in a workspace: pack, install, run."""

import json

import pytest

from tests.fs.conftest import Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)


def test_install_of_a_packed_package(mounted: Mounted) -> None:
    """npm pack, npm install of the archive, require, a script, npm ci, npm uninstall."""
    ws = mounted.workspace()
    (ws / ".gitignore").write_text("node_modules/\n*.tgz\n")
    (ws / "hello").mkdir()
    (ws / "app").mkdir()
    (ws / "hello/index.js").write_text("module.exports = () => 'hello from a package'\n")
    (ws / "hello/cli.js").write_text("#!/usr/bin/env node\nconsole.log(require('./index.js')())\n")
    package = {"name": "hello", "version": "1.0.0", "main": "index.js", "bin": "cli.js"}
    (ws / "hello/package.json").write_text(json.dumps(package))
    app = {"name": "app", "version": "1.0.0", "scripts": {"say": "hello"}}
    (ws / "app/package.json").write_text(json.dumps(app))
    settings = {
        "npm_config_offline": "true",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_cache": str(mounted.repository.parent / "npm"),
    }
    run("npm", "pack", "--silent", cwd=ws / "hello", **settings)
    run("npm", "install", "../hello/hello-1.0.0.tgz", cwd=ws / "app", **settings)
    say = ("node", "-e", "console.log(require('hello')())")
    assert run(*say, cwd=ws / "app") == "hello from a package\n"
    assert run("npm", "run", "--silent", "say", cwd=ws / "app", **settings).endswith("package\n")
    run("npm", "ci", cwd=ws / "app", **settings)
    assert run(*say, cwd=ws / "app") == "hello from a package\n"
    before = mounted.ops()
    assert ("create", "app/package-lock.json") in before
    assert not any("node_modules" in path or path.endswith(".tgz") for _, path in before)
    run("npm", "uninstall", "hello", cwd=ws / "app", **settings)
    assert not (ws / "app/node_modules/hello").exists()
    assert {path for _, path in mounted.ops()[len(before) :]} <= {
        "app/package.json",
        "app/package-lock.json",
    }
