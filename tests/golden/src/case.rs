//! One recorded case and a folder of them.

use anyhow::{Context, Result, bail};
use kurier_api::config::Props;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// How a packed file's name ends.
const PACKED: &str = ".jsonl.zst";

fn read_file(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file)?;
    let is_packed = file.extension().is_some_and(|ext| ext == "zst");
    Ok(String::from_utf8(if is_packed { zstd::decode_all(&bytes[..])? } else { bytes })?)
}

/// What Java did.
#[derive(Clone, Debug)]
pub enum Expected {
    /// It answered.
    Output(Json),
    /// It threw.
    Error {
        /// The exception's class.
        class: String,
        /// Its message.
        message: Option<String>,
    },
}

/// One recorded case: a call and its answer.
#[derive(Clone, Debug)]
pub struct Case {
    /// `subject/number`.
    pub id: String,
    /// The Java class called.
    pub class: String,
    /// The operation, mostly a method's name.
    pub op: String,
    /// The whole line.
    pub line: Json,
    /// The answer.
    pub expected: Expected,
}

impl Case {
    fn parse(text: &str) -> Result<Self> {
        let line: Json = serde_json::from_str(text)?;
        let field = |name: &str| -> Result<String> {
            Ok(line[name].as_str().with_context(|| format!("the case has no `{name}`"))?.to_owned())
        };
        let expected = match line.get("error") {
            Some(error) => Expected::Error {
                class: error["class"].as_str().context("the error has no class")?.to_owned(),
                message: error["message"].as_str().map(str::to_owned),
            },
            None => Expected::Output(line.get("output").context("neither output nor error")?.clone()),
        };
        Ok(Self { id: field("id")?, class: field("class")?, op: field("op")?, expected, line })
    }

    /// The part of the id before the number: `smt.cast`.
    pub fn subject(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }

    /// The class name without its package.
    pub fn simple_class(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or(&self.class)
    }

    /// The input; null where there is none.
    pub fn input(&self) -> &Json {
        &self.line["input"]
    }

    /// The settings as recorded; null where there are none.
    pub fn config(&self) -> &Json {
        &self.line["config"]
    }

    /// One setting.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.line["config"].get(key)?.as_str()
    }

    /// The settings that are texts.
    pub fn props(&self) -> Props {
        let Some(config) = self.line["config"].as_object() else { return Props::new() };
        config.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    }

    /// Whether the failure is a Java accident, whose text does not count.
    pub fn is_jvm_text(&self) -> bool {
        self.line["jvm_text"] == true
    }

    /// Whether JDK 17 printed a float otherwise than later ones.
    pub fn has_jdk17_float(&self) -> bool {
        self.line["jdk17_float"] == true
    }
}

/// All cases of a folder, in the order of file names and lines.
#[derive(Debug, Default)]
pub struct Suite {
    /// The cases.
    pub cases: Vec<Case>,
}

impl Suite {
    /// Reads every `*.jsonl` and `*.jsonl.zst` of a folder.
    ///
    /// # Errors
    /// If the folder cannot be read or a line is no case.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .with_context(|| format!("cannot read the folder {}", dir.display()))?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.ends_with(".jsonl") || name.ends_with(PACKED)
            })
            .collect();
        if files.is_empty() {
            bail!("the folder {} has no file `*.jsonl` or `*{PACKED}`", dir.display());
        }
        files.sort();
        let mut suite = Self::default();
        for file in files {
            let text = read_file(&file).with_context(|| format!("cannot read {}", file.display()))?;
            suite.add_lines(&text).with_context(|| file.display().to_string())?;
        }
        Ok(suite)
    }

    /// Adds the cases of a text, one a line.
    ///
    /// # Errors
    /// If a line is no case.
    pub fn add_lines(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                self.cases.push(Case::parse(line).with_context(|| format!("line {}", number + 1))?);
            }
        }
        Ok(())
    }

    /// The case of this id.
    pub fn case(&self, id: &str) -> Option<&Case> {
        self.cases.iter().find(|c| c.id == id)
    }
}
