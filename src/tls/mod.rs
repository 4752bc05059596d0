//! Certificates: files to keys, the choice by SNI, and their reload.
