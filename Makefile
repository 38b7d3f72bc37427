# make demo     show all that the library does, in out/demo
# make test     run every check of this repository
# make docs     build the documentation, in site
#
# Each first sets up the folder .venv and reuses it from then on.
#
# PYTHON=...      the interpreter to start from; Python 3.11 or newer is looked for otherwise
# VENV=...        another folder than .venv
# TORCH=existing  use the torch that PYTHON has, and download none
# OUT=...         another folder than out/demo

VENV ?= .venv
TORCH ?= download
OUT ?= out/demo

BIN := $(VENV)/bin
# By module: a tool that comes with an existing torch has no command in this environment.
RUN := $(BIN)/python -m
INSTALLED := $(VENV)/installed-with-torch-$(TORCH)

# A command of the right name may still not run, be too old, or lack what makes environments.
FIT := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
FOUND = $(firstword $(foreach python,$(or $(PYTHON),python3.11 python3.12 python3.13 python3 python),\
	$(shell $(python) -c '$(FIT)' >/dev/null 2>&1 && echo $(python))))
UNFIT = $(if $(PYTHON),PYTHON=$(PYTHON) is not,There is no) Python 3.11 or newer that can make \
	virtual environments. Install one (on Debian and Ubuntu: python3 and python3-venv) or name it: \
	make PYTHON=/path/to/python3

.PHONY: help demo test docs

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED)
	$(BIN)/imbalance-lens demo --out $(OUT)
	@echo "The outputs lie in $(abspath $(OUT)):"
	@ls $(OUT)

test: $(INSTALLED)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pyright --pythonpath $(BIN)/python
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo
	$(RUN) pytest

docs: $(INSTALLED)
	$(RUN) mkdocs build --strict

$(INSTALLED): pyproject.toml constraints.txt
	$(if $(torch-$(TORCH)),,$(error TORCH=$(TORCH) is not known. Choose one of: download, existing))
	$(if $(FOUND),,$(error $(UNFIT)))
	test -x $(BIN)/python || $(FOUND) -m venv $(VENV)
	$(torch-$(TORCH))
	$(RUN) pip install -c $(VENV)/constraints.txt -e '.[audio,dev,docs]'
	rm -f $(VENV)/installed-with-torch-*
	touch $@

PTH = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/existing-torch.pth

define torch-download
rm -f $(PTH)
cp constraints.txt $(VENV)/constraints.txt
endef

# PYTHON may itself be an environment's, which --system-site-packages would not see; a .pth file
# works for all. The torch found there stays as it is: its family is held at the versions present.
PACKAGES := import sys; print(*(p for p in sys.path if p.endswith("-packages")), sep="\n")
HELD := from importlib.metadata import distributions; \
	found = {d.name: d.version for d in reversed([*distributions()])}; \
	print(*(f"{n}=={v}" for n, v in found.items() if n in ("torch", "torchvision", "torchaudio")), sep="\n")
define torch-existing
$(FOUND) -c '$(PACKAGES)' > $(PTH)
$(BIN)/python -c 'import torch' || { echo '$(FOUND) has no torch that works in $(VENV)' >&2; exit 1; }
grep -v '^torch' constraints.txt > $(VENV)/constraints.txt
$(BIN)/python -c '$(HELD)' >> $(VENV)/constraints.txt
endef
