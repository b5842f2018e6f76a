create schema token_manager
