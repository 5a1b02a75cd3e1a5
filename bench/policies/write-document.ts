/** Writes docs/policies.md: what scripts/policies runs. */

import { writeFileSync } from "node:fs";
import { policiesFile, renderPolicies } from "./document.ts";

writeFileSync(new URL(`../../${policiesFile}`, import.meta.url), renderPolicies());
