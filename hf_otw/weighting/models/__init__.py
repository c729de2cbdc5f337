"""Weight models, one family per file; `hf_otw.weighting` exports them."""
