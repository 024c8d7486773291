"""The built-in stages, one module each; `worker.context` puts them in order, `worker.extensions` adds others."""
