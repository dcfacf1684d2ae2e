"""Rule tester."""

from fastapi import APIRouter

router = APIRouter()
