# What people and CI call. Every target works on a fresh Debian machine with Rust: what else it needs, it installs.

.PHONY: help build test test-orchestrators test-web lint generate check-generated engines-table bench demo docs

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## Build the binary for use: target/release/haulier
	cargo build --release --locked

test: ## Run every test, real components included
	tests/support/test

test-orchestrators: ## Test the Python packages, and Airflow, Dagster and others that use them
	cargo build --locked --all-features
	tests/orchestrators/run
	tests/orchestrators/adf/run

test-web: ## Drive the dashboard with a real browser
	cargo build --locked --all-features
	tests/web/run

lint: ## Check format, lints and documentation
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --document-private-items

generate: ## Write the files that are made from the code
	cargo run --locked --quiet --all-features -- openapi > openapi/openapi.json
	cargo run --locked --quiet --all-features -- generate metrics-table > docs/metrics.md
	cargo run --locked --quiet --all-features -- generate prometheus-rules > docker/prometheus/rules.yaml
	cargo run --locked --quiet --all-features -- generate grafana-dashboard > docker/grafana/haulier.json
	templates/adf/generate.py

check-generated: ## Check that they are what the code makes
	cargo run --locked --quiet --all-features -- openapi | diff - openapi/openapi.json
	cargo run --locked --quiet --all-features -- generate metrics-table | diff - docs/metrics.md
	cargo run --locked --quiet --all-features -- generate prometheus-rules | diff - docker/prometheus/rules.yaml
	cargo run --locked --quiet --all-features -- generate grafana-dashboard | diff - docker/grafana/haulier.json
	templates/adf/generate.py --check

engines-table: ## Write what the last tests saw each engine do: docs/engines.md
	tests/support/contract-table target/contract.jsonl > docs/engines.md

bench: ## Measure, and print the figures as ratios to the raw engine
	cargo bench --locked

demo: ## Show the whole thing on a real engine
	docker/demo/run
