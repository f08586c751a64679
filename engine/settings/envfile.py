"""What `groundswell init` writes as config/.env.example."""

from __future__ import annotations

ENV_EXAMPLE = """\
# Copy this file to config/.env and fill in your key. Never commit config/.env.
# The process environment wins over config/.env, and config/.env over .env in the project folder.

# Gemini API key, from https://aistudio.google.com/apikey (billing must be linked for image models).
# GEMINI_API_KEY works as well; GOOGLE_API_KEY wins.
GOOGLE_API_KEY=your_gemini_api_key_here

# Vertex AI instead of the Developer API (with generation.backend: vertex), signed in with
# `gcloud auth application-default login`. PROJECT_ID and REGION work as well.
# GOOGLE_GENAI_USE_VERTEXAI=true
# GOOGLE_CLOUD_PROJECT=your-project
# GOOGLE_CLOUD_LOCATION=global

# Another server, for example one started with: groundswell simulate
# GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8765

# These win over the configuration file when they stand here.
# OUTPUT_DIR=data/generated
# LOG_LEVEL=INFO
# LOG_FILE=logs/pipeline.log
"""
