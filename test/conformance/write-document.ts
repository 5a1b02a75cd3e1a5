/** Writes docs/conformance.md: what scripts/conformance runs. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../tidy/source-files.ts";
import { documentFile, renderDocument } from "./document.ts";

writeFileSync(join(root, documentFile), renderDocument());
