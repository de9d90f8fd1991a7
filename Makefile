# `make train` and `make test` set everything up in .venv first. No activation is needed.
#   make demo                                            shows an agent that comes trained
#   make train ARGS='--seed 1 --logdir ~/logs/first'    make test ARGS='tests/test_rssm.py'
#   make PYTHON=/usr/bin/python3.11 test                 chooses the Python of a new .venv

PYTHON ?=
ARGS ?=
# Two processes, a file of tests each: what its tests share is made once.
WORKERS ?= -n 2 --dist loadfile --no-loadscope-reorder
RUN := .venv/bin/python
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
GL := libegl1 libgl1 libopengl0 libosmesa6
MAY_INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

.ONESHELL:
.SHELLFLAGS := -euc
.PHONY: help setup demo train test

help:
	@sed -n '1,/^$$/s/^# \?//p' Makefile

# Numbers of an agent that comes trained, and films of it in demo/.
demo: setup
	@mkdir -p demo
	@$(RUN) -m common.evaluate --logdir results/dreamer-balance --episodes 3 --video demo/episode.gif --pictures demo $(ARGS)

train: setup
	@$(RUN) -m dreamer.train --configs dmc cpu --task dmc_cartpole_balance_sparse $(ARGS)

test: setup
	@$(RUN) -m pytest $(WORKERS) $(ARGS)

setup: .venv/.gl

# A virtual environment counts as it is when its Python runs; only a change of setup.py installs.
.venv/.installed: setup.py
	@if ! $(RUN) -c 'import pip' 2>/dev/null; then
	  found=
	  bare=
	  for python in $(if $(PYTHON),'$(PYTHON)',python3.12 python3.11 python3.10 python3 python); do
	    version=$$("$$python" -c '$(VERSION)' 2>/dev/null) || continue
	    case $$version in 3.10|3.11|3.12) ;; *) continue ;; esac
	    bare=$${bare:-$$version}
	    "$$python" -c 'import ensurepip, venv' 2>/dev/null && found=$$python && break
	  done
	  if [ -z "$$found" ] && [ -n "$$bare" ] && $(MAY_INSTALL); then
	    echo "Installing python$$bare-venv ..."
	    apt-get update -qq
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$$bare-venv" >/dev/null
	    found=$(or $(PYTHON),python$$bare)
	  fi
	  if [ -z "$$found" ] && [ -n "$$bare" ]; then
	    echo "Python $$bare cannot make virtual environments." \
	      "Type: sudo apt-get install python$$bare-venv" >&2
	    exit 1
	  fi
	  if [ -z "$$found" ]; then
	    echo 'Python 3.10, 3.11 or 3.12 is needed.' \
	      'Type: sudo apt-get install python3.11 python3.11-venv, or pass PYTHON=/path/to/it' >&2
	    exit 1
	  fi
	  echo "Making .venv with $$found ..."
	  rm -rf .venv
	  "$$found" -m venv .venv
	fi
	echo 'Installing packages into .venv (minutes the first time) ...'
	# The pip of Python 3.10 to 3.12 can search for many minutes where a newer one takes seconds.
	$(RUN) -m pip install -qq --disable-pip-version-check 'pip>=24.2'
	$(RUN) -m pip install -qq -e '.[test,atari]'
	touch $@

# Rendering without a screen needs the system's GL libraries: EGL, or else OSMesa.
.venv/.gl: .venv/.installed
	@renders() {
	  for backend in egl osmesa; do
	    MUJOCO_GL=$$backend PYOPENGL_PLATFORM=$$backend $(RUN) -c '
	import mujoco
	context = mujoco.GLContext(64, 64)
	context.make_current()
	mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 150)
	' >/dev/null 2>&1 && return
	  done
	  return 1
	}
	if ! renders && $(MAY_INSTALL); then
	  echo 'Installing $(GL) ...'
	  apt-get update -qq
	  # One by one: newer systems have no libosmesa6, and EGL is enough.
	  for package in $(GL); do
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$package >/dev/null || true
	  done
	fi
	if ! renders; then
	  echo 'MuJoCo cannot render: GL libraries are missing. Type: sudo apt-get install libegl1 libgl1 libopengl0' >&2
	  exit 1
	fi
	touch $@
