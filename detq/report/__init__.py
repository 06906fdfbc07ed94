"""What a person looks at: tables, pictures and the closing line. Reads results only, never a model."""

from __future__ import annotations
